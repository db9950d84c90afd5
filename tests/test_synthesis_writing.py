"""Free text from a model: batches, draws, schemas, the journal and servers."""

import dataclasses
import importlib.util
import io
import json

import jsonschema
import pytest
import torch
from test_llm_server import Handler, completion, no_proxies, stub  # noqa: F401 (a fixture)

from helpers import llm, models, synthesis, weights

PAIR = {
    "type": "object",
    "properties": {key: {"type": "string", "minLength": 1, "maxLength": 12} for key in ("first", "second")},
    "required": ["first", "second"],
    "additionalProperties": False,
}
PROMPTS = ["Query: the cat", "Query: my hat is on the mat and the cat is on the hat", "Query: it", "Query: the cat sat"]


def orders(schema=None, max_tokens=24, prompts=PROMPTS):
    return [llm.Order(prompt, max_tokens, schema, seed) for seed, prompt in enumerate(prompts)]


@pytest.fixture(scope="module")
def local(causal):
    return llm.LocalModel(*causal, name="tiny")


@pytest.fixture(scope="module")
def drawing(causal):
    return llm.LocalModel(*causal, name="tiny", temperature=1.0)


@pytest.fixture(scope="module")
def long_causal(causal):
    """A random model whose window holds a whole prompt and its answer."""
    from transformers import LlamaForCausalLM

    torch.manual_seed(0)
    config = type(causal[0].config)(**causal[0].config.to_dict() | {"max_position_embeddings": 4096})
    return LlamaForCausalLM(config).eval(), causal[1]


def test_without_schema_and_draws_it_is_what_generate_writes(local):
    written = local.write(orders())
    assert [text.text for text in written] == local.reply(PROMPTS, max_tokens=24)
    assert {text.tokens for text in written} == {24}
    assert not any(text.finished for text in written)
    assert all(text.prompt_tokens > 5 for text in written)


@pytest.mark.parametrize("changes", [{"batch_tokens": 1}, {"batch_tokens": 60}])
@pytest.mark.parametrize("schema", [None, PAIR], ids=["free", "schema"])
def test_a_text_does_not_depend_on_its_neighbours(causal, drawing, changes, schema):
    whole = drawing.write(orders(schema, 40))
    other = llm.LocalModel(*causal, name="tiny", temperature=1.0, **changes)
    assert other.write(orders(schema, 40)) == whole
    assert [other.write([order])[0] for order in orders(schema, 40)] == whole
    assert drawing.write(orders(schema, 40)[::-1])[::-1] == whole


@pytest.mark.parametrize("family", ["gpt2", "opt", "mistral", "llama"])
def test_other_families_write_what_generate_writes(causal, family):
    """Mistral's sliding window is shorter here than the texts."""
    from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, MistralConfig, OPTConfig

    torch.manual_seed(0)
    small = {"vocab_size": 49152, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = {
        "gpt2": lambda: GPT2Config(vocab_size=49152, n_embd=32, n_layer=2, n_head=4, n_positions=128),
        "opt": lambda: OPTConfig(
            ffn_dim=64, word_embed_proj_dim=32, max_position_embeddings=128, pad_token_id=1, **small
        ),
        "mistral": lambda: MistralConfig(intermediate_size=64, num_key_value_heads=2, sliding_window=6, **small),
        "llama": lambda: LlamaConfig(intermediate_size=64, num_key_value_heads=2, initializer_range=0.3, **small),
    }[family]()
    model = llm.LocalModel(AutoModelForCausalLM.from_config(config).eval(), causal[1], name=family, chat=False)
    same = ["a", "b", "a b c d e f g h i", "a b c d e f g h j"]
    assert [text.text for text in model.write(orders(prompts=same))] == model.reply(same, max_tokens=24)


def test_equal_prompts_are_told_apart_by_their_seeds_only(drawing):
    twins = [llm.Order("Query: the cat", 12, None, seed) for seed in (1, 2, 1, None, None)]
    before = torch.get_rng_state()
    texts = [text.text for text in drawing.write(twins)]
    assert texts[0] == texts[2] != texts[1]
    assert texts[3] == texts[4]
    assert torch.equal(torch.get_rng_state(), before)
    assert len({text.text for text in drawing.write([llm.Order("a", 12, None, seed) for seed in range(40)])}) == 40


def test_draws_have_the_models_probabilities(causal, drawing):
    """One token, drawn 600 times, against the softmax of a plain forward."""
    model, tokenizer = causal
    judge = llm.LocalModel(model, tokenizer, name="tiny", chat=False, temperature=0.2)
    ids = torch.tensor([tokenizer("Query: the cat")["input_ids"]])
    with torch.inference_mode():
        expected = (model(input_ids=ids).logits[0, -1] / 0.2).softmax(dim=0)
    found = [text.text for text in judge.write([llm.Order("Query: the cat", 1, None, seed) for seed in range(600)])]
    best = int(expected.argmax())
    share = found.count(tokenizer.decode([best])) / 600
    p = float(expected[best])
    assert abs(share - p) < 4 * (p * (1 - p) / 600) ** 0.5 + 1e-9


def test_any_model_writes_what_the_schemas_ask_for(long_causal):
    """A model of random weights, at temperature 1: without constraints nothing of it would be JSON."""
    judge = llm.LocalModel(*long_causal, name="tiny", temperature=1.0)
    plan = synthesis.Plan(1, tasks={name: ["Given a bird, find its nest"] for name in synthesis.TWO_STEP})
    asked = list(synthesis.brainstorms(1, 2, tasks=2))
    for group in synthesis.GROUPS:
        asked += [synthesis.request(plan, group, number, task=plan.tasks.get(group, [None])[0]) for number in range(2)]
    sent = [synthesis.order_for(request, synthesis.Options(max_tokens=350)) for request in asked]
    for order, written in zip(sent, judge.write(sent), strict=True):
        assert written.finished
        assert written.tokens <= order.max_tokens <= 350
        jsonschema.validate(json.loads(written.text), order.schema)
    for text in judge.write([dataclasses.replace(order, schema=None, max_tokens=20) for order in sent]):
        with pytest.raises(synthesis.ParseError):
            synthesis.parse(text.text, ("first",))


def test_a_text_that_is_cut_says_so(drawing):
    written = drawing.write([llm.Order("Query: the cat", 5, PAIR, 0), llm.Order("Query: the cat", 100, PAIR, 0)])
    assert [text.finished for text in written] == [False, True]
    assert written[0].tokens == 5
    jsonschema.validate(json.loads(written[1].text), PAIR)


def test_finished_texts_leave_the_batch(causal, drawing):
    sizes = []
    hook = causal[0].register_forward_pre_hook(
        lambda module, args, kwargs: sizes.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    try:
        written = drawing.write(orders(PAIR, 100))
    finally:
        hook.remove()
    steps = [rows for rows, length in sizes if length == 1][-max(text.tokens for text in written) :]
    assert steps == sorted(steps, reverse=True)
    assert sum(steps) == sum(text.tokens for text in written)
    assert steps[0] == 4 > steps[-1]


@pytest.mark.parametrize("schema", [{"type": "thing"}, {"type": "string", "x-guidance": 1, "pattern": "("}])
def test_a_schema_that_cannot_be_followed_is_named(local, schema):
    with pytest.raises(ValueError, match="a schema cannot be followed"):
        local.write([llm.Order("a", 5, schema)])


def test_bad_orders_are_named(local):
    with pytest.raises(ValueError, match="max_tokens=0"):
        llm.Order("a", 0)
    with pytest.raises(ValueError, match="leaves no room"):
        local.write([llm.Order("a", 256)])
    assert local.write([]) == []


def test_the_journal_keeps_texts_and_replays_them(drawing, tmp_path, monkeypatch):
    path = tmp_path / "j.jsonl"
    filed = llm.Journalled(drawing, llm.Journal(path))
    written = filed.write(orders(PAIR, 60))
    monkeypatch.setattr(drawing, "write", None)  # whoever asks again fails
    assert llm.Journalled(drawing, llm.Journal(path)).write(orders(PAIR, 60)) == written
    replay = llm.Replay(llm.Journal(path))
    assert replay.write(orders(PAIR, 60)) == written
    for changed in ({"seed": 9}, {"schema": None}, {"max_tokens": 61}, {"prompt": "Query"}):
        with pytest.raises(ValueError, match="1 of 1 answers"):
            replay.write([dataclasses.replace(orders(PAIR, 60)[0], **changed)])


# --- Servers ----------------------------------------------------------------------------------------------------------


class Recorder(Handler):
    """Also keeps what was sent."""

    def do_POST(self):  # noqa: N802 (the name that http.server calls)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.bodies.append(json.loads(body))
        self.rfile = io.BytesIO(body)
        super().do_POST()


def recording(stub, *steps, **options):  # noqa: F811
    server, judge = stub(*steps, **options)
    server.RequestHandlerClass, server.bodies = Recorder, []
    return server, judge


def test_a_server_is_sent_schema_and_seed_and_tells_length(stub):  # noqa: F811
    cut = completion('{"first": "a')
    cut["choices"][0]["finish_reason"] = "length"
    server, judge = recording(stub, (200, completion('{"first": "a", "second": "b"}'), {}), (200, cut, {}))
    written = judge.write([llm.Order("p", 50, PAIR, 7), llm.Order("q", 40)])
    assert [text.finished for text in written] == [True, False]
    assert (written[0].prompt_tokens, written[0].tokens) == (10, 2)
    first, second = server.bodies
    assert (first["seed"], first["max_tokens"], first["temperature"]) == (7, 50, 0.0)
    assert first["response_format"]["type"] == "json_schema"
    assert first["response_format"]["json_schema"]["schema"] == PAIR
    assert not {"seed", "response_format"} & set(second)


def test_a_server_that_does_not_count_is_believed(stub):  # noqa: F811
    _, judge = recording(stub, (200, completion("x", usage=False), {}))
    written = judge.write([llm.Order("p", 5)])[0]
    assert written == llm.Written("x", True, None, None)


def test_what_a_server_wrote_before_a_limit_is_filed(stub, tmp_path):  # noqa: F811
    _, judge = recording(stub, (200, completion("x"), {}), max_requests=2)
    journal = llm.Journal(tmp_path / "j.jsonl")
    with pytest.raises(llm.LimitError, match="2 of 4 prompts were answered"):
        llm.Journalled(judge, journal).write(orders())
    assert len(llm.Journal(journal.path)) == 2
    server, more = recording(stub, (200, completion("x"), {}))
    assert [text.text for text in llm.Journalled(more, journal).write(orders())] == ["x"] * 4
    assert len(server.bodies) == 2


@pytest.mark.skipif(importlib.util.find_spec("xllamacpp") is None, reason="needs xllamacpp, which serves GGUF files")
def test_a_real_server_follows_a_schema(monkeypatch):
    import xllamacpp

    no_proxies(monkeypatch)
    entry = models.spec("smollm2-135m")
    params = xllamacpp.CommonParams()
    params.model.path = str(weights.package_folder(entry.package) / entry.gguf)
    params.n_ctx, params.n_parallel, params.port, params.warmup, params.verbosity = 512, 1, 0, False, -1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    server = xllamacpp.Server(params)
    judge = llm.OpenAIServer(f"{server.listening_address}/v1", "smollm2-135m", workers=1)
    written = judge.write([llm.Order("Name two birds.", 60, PAIR, 1)])[0]
    assert written.finished
    jsonschema.validate(json.loads(written.text), PAIR)
    del server
