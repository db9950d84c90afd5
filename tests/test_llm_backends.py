"""What answers: a local model against plain forwards, a reward model, a replay."""

import logging

import numpy as np
import pytest
import torch

from helpers import llm, prompts
from helpers.llm import scoring

CONTEXTS = ["The river is wide and", "The river is wide and", "A", "The river runs; the river is wide and the bank is"]
ENDINGS = [" slow in summer", " deep", " b c d e f g h", " far away"]
PROMPTS = [f"Query: {word} is where?\nChoice 1: here\nChoice 2: there\nChoice" for word in ("the cat", "my hat", "it")]


@pytest.fixture(scope="module")
def local(causal):
    return llm.LocalModel(*causal, name="tiny")


def ids_of(tokenizer, text):
    return tokenizer(text, add_special_tokens=False)["input_ids"]


@torch.inference_mode()
def by_hand(causal, context, ending):
    model, tokenizer = causal
    before, after = ids_of(tokenizer, context), ids_of(tokenizer, ending)
    logprobs = model(input_ids=torch.tensor([before + after])).logits[0].log_softmax(dim=-1)
    return sum(float(logprobs[len(before) + at - 1, token]) for at, token in enumerate(after)), len(after)


def test_text_logprob_is_the_sum_by_hand_and_its_mean(causal, local):
    expected = [by_hand(causal, *pair) for pair in zip(CONTEXTS, ENDINGS, strict=True)]
    np.testing.assert_allclose(local.text_logprob(CONTEXTS, ENDINGS), [total for total, _ in expected], atol=1e-3)
    mean = local.text_logprob(CONTEXTS, ENDINGS, per_token=True)
    np.testing.assert_allclose(mean, [total / count for total, count in expected], atol=1e-3)


def test_option_logprobs_are_those_of_a_plain_forward(causal, local):
    model, tokenizer = causal
    found = local.option_logprobs(PROMPTS, [" A", " B"])
    first, second = ids_of(tokenizer, " A"), ids_of(tokenizer, " B")
    assert len(first) == len(second) == 1
    for row, prompt in enumerate(PROMPTS):
        with torch.inference_mode():
            logprobs = model(input_ids=torch.tensor([ids_of(tokenizer, prompt)])).logits[0, -1].log_softmax(dim=-1)
        np.testing.assert_allclose(found[row], logprobs[first + second], atol=1e-3)


def test_options_of_several_tokens_are_whole_texts(causal, local):
    options = [" 1", " 2", " maybe", " neither of the two"]
    expected = [[by_hand(causal, prompt, option)[0] for option in options] for prompt in PROMPTS]
    np.testing.assert_allclose(local.option_logprobs(PROMPTS, options), expected, atol=1e-3)


@pytest.mark.parametrize("changes", [{"batch_tokens": 1}, {"batch_tokens": 60}, {"share_prefix": False}])
def test_neither_batches_nor_shared_beginnings_change_anything(causal, local, changes):
    other = llm.LocalModel(*causal, name="tiny", **changes)
    many = CONTEXTS + [f"{PROMPTS[0]} {n}" for n in range(9)]
    endings = ENDINGS + [f" and {n} more{' words' * n}" for n in range(9)]
    np.testing.assert_allclose(other.text_logprob(many, endings), local.text_logprob(many, endings), atol=1e-3)
    np.testing.assert_allclose(
        other.option_logprobs(PROMPTS, prompts.OPTIONS), local.option_logprobs(PROMPTS, prompts.OPTIONS), atol=1e-3
    )


def test_one_at_a_time_equals_many(local):
    alone = [local.text_logprob([one], [two])[0] for one, two in zip(CONTEXTS, ENDINGS, strict=True)]
    np.testing.assert_allclose(local.text_logprob(CONTEXTS, ENDINGS), alone, atol=1e-3)
    assert local.reply(PROMPTS, max_tokens=6) == [local.reply([prompt], max_tokens=6)[0] for prompt in PROMPTS]


def test_a_chunk_border_changes_nothing(local, monkeypatch):
    whole = local.text_logprob(CONTEXTS, ENDINGS)
    monkeypatch.setattr(scoring, "CHUNK", 1)
    np.testing.assert_allclose(local.text_logprob(CONTEXTS, ENDINGS), whole, atol=1e-3)


def test_left_padding_does_not_move_a_reply(causal, local):
    model, tokenizer = causal
    long = "word " * 60
    ids = torch.tensor([ids_of(tokenizer, chat(tokenizer, PROMPTS[0]))])
    with torch.inference_mode():
        plain = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=8, do_sample=False)
    expected = tokenizer.decode(plain[0, ids.shape[1] :], skip_special_tokens=True)
    assert local.reply([PROMPTS[0], long], max_tokens=8)[0] == expected


def chat(tokenizer, prompt):
    turns = [{"role": "user", "content": prompt}]
    return tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)


@pytest.mark.parametrize("family", ["opt", "gpt2", "mistral"])
def test_other_families_agree_with_a_plain_forward(causal, family):
    """OPT and GPT-2 have learned positions; Mistral has a sliding window, here shorter than the inputs."""
    from transformers import AutoModelForCausalLM, GPT2Config, MistralConfig, OPTConfig

    torch.manual_seed(0)
    small = {"vocab_size": 49152, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = {
        "opt": lambda: OPTConfig(
            ffn_dim=64, word_embed_proj_dim=32, max_position_embeddings=128, pad_token_id=1, **small
        ),
        "gpt2": lambda: GPT2Config(vocab_size=49152, n_embd=32, n_layer=2, n_head=4, n_positions=128),
        "mistral": lambda: MistralConfig(intermediate_size=64, num_key_value_heads=2, sliding_window=6, **small),
    }[family]()
    other = (AutoModelForCausalLM.from_config(config).eval(), causal[1])
    expected = [by_hand(other, *pair)[0] for pair in zip(CONTEXTS, ENDINGS, strict=True)]
    found = llm.LocalModel(*other, name=family, chat=False).text_logprob(CONTEXTS, ENDINGS)
    np.testing.assert_allclose(found, expected, atol=1e-3)


def rows_of(*texts, keep=1):
    return sorted((scoring.Row(tuple(text.encode()), keep) for text in texts), key=lambda row: row.ids)


def test_beginnings_are_found_by_hand():
    root, groups = scoring.shared_beginnings(
        rows_of("same-aaaaaaa1", "same-aaaaaaa2", "same-b", "same-ccccc1", "same-ccccc2")
    )
    assert root == len("same-")
    assert groups == [(0, 2, 12), (2, 3, 5), (3, 5, 10)]
    assert scoring.shared_beginnings(rows_of("abc", "xyz")) == (0, [(0, 1, 0), (1, 2, 0)])
    # The tokens that are read never belong to a beginning.
    assert scoring.shared_beginnings(rows_of("equal text", "equal text", keep=3)) == (7, [(0, 1, 7), (1, 2, 7)])


def test_a_loose_cousin_does_not_shorten_a_group():
    _, groups = scoring.shared_beginnings(rows_of("aaaab" + "c" * 20 + "1", "aaaab" + "c" * 20 + "2", "aaaaa", "bbbb"))
    assert (1, 3, 25) in groups


def test_long_inputs_are_cut_at_their_beginning_and_counted(local, caplog):
    long = "far " * 400
    with caplog.at_level(logging.WARNING):
        found = local.text_logprob([long + CONTEXTS[0], CONTEXTS[0]], ENDINGS[:2])
    assert "1 of 2 inputs were cut to 256 tokens" in caplog.text
    assert np.isfinite(found).all()
    with pytest.raises(ValueError, match="leaves no room"):
        local.text_logprob(["a"], ["far " * 400])
    with pytest.raises(ValueError, match="leaves no room"):
        local.reply(["a"], max_tokens=256)


def test_bad_requests_to_a_local_model_are_named(causal, local):
    for call, message in [
        (lambda: local.text_logprob(["a", "b"], ["c", ""]), r"continuations\[1\] is empty"),
        (lambda: local.text_logprob([""], ["c"]), "has no tokens"),
        (lambda: local.option_logprobs(["a"], ["", " 1"]), "an option is empty"),
        (lambda: local.reply(["a"], max_tokens=0), "max_tokens=0"),
        (lambda: llm.LocalModel(*causal, temperature=-1), "temperature=-1"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()


def test_sampling_depends_on_its_seed_only(causal):
    def sample(seed):
        return llm.LocalModel(*causal, temperature=2.0, seed=seed).reply(PROMPTS, max_tokens=8)

    before = torch.get_rng_state()
    assert sample(1) == sample(1) != sample(2)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_fingerprint_changes_with_the_weights_and_names_no_folder(causal):
    model, tokenizer = causal
    judge = llm.LocalModel(model, tokenizer)
    assert isinstance(judge, llm.Backend)
    assert "/" not in judge.name
    changed = type(model)(model.config).eval()
    assert llm.LocalModel(changed, tokenizer).revision != judge.revision == llm.LocalModel(model, tokenizer).revision


# --- A reward model ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reward(smollm2, tmp_path_factory):
    """A tiny random classifier, and folders that hold it in both layouts."""
    from safetensors.torch import save_file
    from transformers import LlamaConfig, LlamaForSequenceClassification

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = LlamaConfig(
        vocab_size=49152, num_labels=1, pad_token_id=smollm2[1].pad_token_id, max_position_embeddings=64, **sizes
    )
    model = LlamaForSequenceClassification(config).eval()
    stock, starling = tmp_path_factory.mktemp("stock"), tmp_path_factory.mktemp("starling")
    model.save_pretrained(stock)
    state = {key.replace("model.", "transformer.", 1): value.clone() for key, value in model.state_dict().items()}
    state["v_head.weight"] = state.pop("score.weight")
    save_file(state, starling / "model.safetensors")
    config.save_pretrained(starling)
    return model, smollm2[1], stock, starling


def test_a_reward_is_read_at_the_last_token_by_hand(reward):
    model, tokenizer, *_ = reward
    text = "<s>[INST] which? </s> [/INST] this one</s>"
    with torch.inference_mode():
        hidden = model.model(input_ids=torch.tensor([ids_of(tokenizer, text)])).last_hidden_state[0, -1]
        expected = float(model.score(hidden))
    judge = llm.RewardModel(model, tokenizer)
    assert judge.scores(["which?"], ["this one"])[0] == pytest.approx(expected, abs=1e-5)


def test_rewards_do_not_depend_on_the_batch(reward):
    model, tokenizer, *_ = reward
    responses = ["short", "a much longer response to the same prompt, with many words in it", "", "x"]
    whole = llm.RewardModel(model, tokenizer).scores(["p"] * 4, responses)
    single = llm.RewardModel(model, tokenizer, batch_tokens=1).scores(["p"] * 4, responses)
    np.testing.assert_allclose(whole, single, atol=1e-5)


def test_both_layouts_of_a_checkpoint_give_the_same_rewards(reward):
    model, tokenizer, *folders = reward
    expected = llm.RewardModel(model, tokenizer).scores(["p", "q"], ["a", "b c d"])
    for folder in folders:
        loaded = llm.load_reward(folder)
        np.testing.assert_allclose(
            llm.RewardModel(loaded, tokenizer).scores(["p", "q"], ["a", "b c d"]), expected, atol=1e-6
        )


def test_a_checkpoint_that_is_no_reward_model_is_refused(reward, causal, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no \*\.safetensors"):
        llm.load_reward(tmp_path)
    causal[0].save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"is no reward model of this layout: missing \['score.weight'\]"):
        llm.load_reward(tmp_path)
    model, tokenizer, *_ = reward
    model.config.num_labels = 2
    with pytest.raises(ValueError, match="has 1 output, this one has 2"):
        llm.RewardModel(model, tokenizer)
    model.config.num_labels = 1


# --- A replay ---------------------------------------------------------------------------------------------------------


def test_a_replay_answers_all_that_was_asked_and_counts_what_was_not(local, reward, tmp_path):
    path = tmp_path / "j.jsonl"
    filed = llm.Journalled(local, llm.Journal(path))
    replies = filed.reply(PROMPTS, max_tokens=4)
    options = filed.option_logprobs(PROMPTS, prompts.OPTIONS)
    texts = filed.text_logprob(CONTEXTS, ENDINGS, per_token=True)
    replay = llm.Replay(llm.Journal(path))
    assert (replay.name, replay.revision) == (local.name, local.revision)
    assert replay.reply(PROMPTS, max_tokens=4) == replies
    assert np.array_equal(replay.option_logprobs(PROMPTS, prompts.OPTIONS), options)
    assert np.array_equal(replay.text_logprob(CONTEXTS, ENDINGS, per_token=True), texts)
    with pytest.raises(ValueError, match=r"2 of 3 answers \(reply, {'max_tokens': 4}\) of tiny are missing"):
        replay.reply([PROMPTS[0], "new", "newer"], max_tokens=4)
    with pytest.raises(ValueError, match="3 of 3"):
        replay.reply(PROMPTS, max_tokens=5)


def test_a_replay_of_several_models_has_to_be_told_which(local):
    journal = llm.Journal()
    with pytest.raises(ValueError, match="it holds: none"):
        llm.Replay(journal)
    other = llm.LocalModel(local.model, local.tokenizer, name="other", revision="2")
    for judge in (local, other):
        llm.Journalled(judge, journal).reply(["a"], max_tokens=2)
    with pytest.raises(ValueError, match=r"should name one source .*other.*tiny"):
        llm.Replay(journal)
    assert llm.Replay(journal, model="other").revision == "2"


def test_equal_prompts_are_asked_once(causal):
    class Counting(llm.LocalModel):
        asked = 0

        def reply(self, prompts_asked, *, max_tokens):
            Counting.asked += len(prompts_asked)
            return super().reply(prompts_asked, max_tokens=max_tokens)

    filed = llm.Journalled(Counting(*causal, name="c"), llm.Journal())
    one, two, three = filed.reply(["a", "b", "a"], max_tokens=3)
    assert one == three
    assert filed.reply(["b"], max_tokens=3) == [two]
    assert Counting.asked == 2
