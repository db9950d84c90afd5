"""The switch and its guard: both ways for every architecture that is supported, and a named refusal for the others."""

import copy
import subprocess
import sys
import textwrap

import pytest
import torch
from bidirectional_models import CONFIGS, SUPPORTED, byte_tokenizer, ids, make

from helpers import bidirectional
from helpers.bidirectional import architectures, guard, switch

UNSUPPORTED = {
    "stablelm": ("sdpa", "without padding it stays causal"),
    "nemotron": ("sdpa", "without padding it stays causal"),
    "gpt_neo": (None, "constant inside each layer"),
    "openai-gpt": (None, "constant inside each layer"),
    "mpt": (None, "fails without a causal mask"),
    "modernbert-decoder": ("eager", "attn_implementation='sdpa'"),
    "mamba": (None, "state from left to right"),
    "minimax": (None, "state from left to right"),
    "lfm2": (None, "convolutions"),
    "llama4_text": (None, "chunks"),
    "t5": (None, "it has an encoder"),
}
NOT_SEEN_BY_THE_GUARD = ("lfm2", "minimax", "t5", "mpt", "modernbert-decoder")  # half of a model sees, or it crashes


@torch.no_grad()
def states(model, tokens, mask=None):
    """Return the last hidden states, ``(B, L, D)``."""
    options = {} if mask is None else {"attention_mask": mask}
    return guard.decoder_of(model)(input_ids=tokens, **options).last_hidden_state


def looks_ahead(model, mask=None):
    """Change the last token that is no padding; say whether the first one's state moves."""
    tokens = ids()
    mask = torch.ones_like(tokens) if mask is None else mask
    other = tokens.clone()
    for row, keep in enumerate(mask):
        last = int(keep.nonzero()[-1])
        other[row, last] = (tokens[row, last] + 1) % 256 + 4
    moved = (states(model, tokens, mask) - states(model, other, mask)).abs().amax(dim=2)  # (B, L)
    first = [int(keep.nonzero()[0]) for keep in mask]
    return all(moved[row, place] > 1e-4 for row, place in enumerate(first))


def padded(side, rows=2):
    mask = torch.ones(rows, 10, dtype=torch.long)
    mask[-1, slice(0, 3) if side == "left" else slice(7, None)] = 0
    return mask


# --- supported architectures -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("name", SUPPORTED)
def test_the_switch_opens_both_directions(name, attention):
    model = make(name, attention=attention)
    assert not looks_ahead(model)
    with pytest.raises(ValueError, match="still reads from left to right"):
        bidirectional.check_bidirectional(model)
    assert bidirectional.make_bidirectional(model) is model
    moved = bidirectional.check_bidirectional(model)
    assert set(moved) == {"alone", "batch", "left", "right"}
    assert min(moved.values()) > 1e-3
    for mask in (None, padded("left"), padded("right")):
        assert looks_ahead(model, mask)


@pytest.mark.parametrize("name", SUPPORTED)
@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_and_batch_change_nothing(name, side):
    model = bidirectional.make_bidirectional(make(name))
    tokens, mask = ids(3), padded(side, 3)
    together = states(model, tokens, mask)
    for row in range(3):
        keep = mask[row].bool()
        alone = states(model, tokens[row : row + 1, keep])[0]
        torch.testing.assert_close(together[row, keep], alone, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("name", SUPPORTED)
@pytest.mark.parametrize("head", [False, True])
def test_the_switch_is_saved_and_comes_back(name, head, tmp_path):
    from transformers import AutoModel

    model = bidirectional.make_bidirectional(make(name, head=head))
    model.save_pretrained(tmp_path)
    stock = AutoModel.from_pretrained(tmp_path).eval()
    assert stock.config.is_causal is False
    bidirectional.check_bidirectional(stock)
    torch.testing.assert_close(states(stock, ids()), states(model, ids()))
    loaded = bidirectional.load_bidirectional(tmp_path, head=head, device="cpu")
    assert hasattr(loaded, "lm_head") == head
    torch.testing.assert_close(states(loaded, ids()), states(model, ids()))


@pytest.mark.parametrize("name", SUPPORTED)
def test_an_adapter_alone_comes_back_bidirectional_by_our_loader_only(name, tmp_path):
    from peft import PeftModel
    from transformers import AutoModel

    make(name).save_pretrained(tmp_path / "base")
    wrapped = bidirectional.add_adapter(bidirectional.make_bidirectional(make(name)), rank=4)
    perturb(wrapped)
    bidirectional.check_bidirectional(wrapped)
    bidirectional.write_adapter(wrapped, tmp_path / "adapter", dtype=None)
    ours = bidirectional.load_bidirectional(tmp_path / "base", adapter=tmp_path / "adapter", device="cpu")
    torch.testing.assert_close(states(ours, ids()), states(wrapped, ids()))
    stock = PeftModel.from_pretrained(AutoModel.from_pretrained(tmp_path / "base"), tmp_path / "adapter").eval()
    with pytest.raises(ValueError, match="still reads from left to right"):
        bidirectional.check_bidirectional(stock)
    with pytest.raises(ValueError, match="adapter is an adapter: give its base as path"):
        bidirectional.load_bidirectional(tmp_path / "adapter")
    with pytest.raises(FileNotFoundError, match=r"config\.json is missing"):
        bidirectional.load_bidirectional(tmp_path / "nothing")


@pytest.mark.parametrize("name", SUPPORTED)
def test_gradients_flow_back_in_time_with_gradient_checkpointing(name):
    """In training mode the guard cannot look, so the gradient of the first state does."""

    def gradient():
        embedded = model.get_input_embeddings()(ids()).detach().requires_grad_()
        mask = torch.ones(2, 10, dtype=torch.long)
        model(inputs_embeds=embedded, attention_mask=mask, use_cache=False).last_hidden_state[:, 0].sum().backward()
        return embedded.grad[:, -1].abs().sum()

    model = make(name).train()
    model.gradient_checkpointing_enable({"use_reentrant": False})
    assert gradient() == 0
    bidirectional.make_bidirectional(model)
    assert model.training
    assert gradient() > 0


def perturb(wrapped):
    """Give an adapter something to say: a new one adds nothing."""
    torch.manual_seed(3)
    for name, weight in wrapped.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)


def test_a_folder_of_plain_sentence_transformers_stays_bidirectional_elsewhere(tmp_path):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    model = bidirectional.make_bidirectional(make("smollm"))
    model.save_pretrained(tmp_path / "decoder")
    byte_tokenizer().save_pretrained(tmp_path / "decoder")
    encoder = SentenceTransformer(modules=[Transformer(str(tmp_path / "decoder")), Pooling(48, "mean")], device="cpu")
    encoder.save_pretrained(str(tmp_path / "encoder"))
    source = """
        from sentence_transformers import SentenceTransformer
        import numpy
        numpy.save("vectors.npy", SentenceTransformer("encoder", device="cpu").encode(["A bat.", "A longer bat."]))
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(source)], cwd=tmp_path, check=True, timeout=300)
    import numpy as np

    found = np.load(tmp_path / "vectors.npy")
    wanted = bidirectional.embed_texts(model, byte_tokenizer(), ["A bat.", "A longer bat."])
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    with bidirectional.causal(model):
        one_way = bidirectional.embed_texts(model, byte_tokenizer(), ["A bat.", "A longer bat."])
    assert np.abs(found - one_way).max() > 0.01


# --- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_what_does_not_work_is_refused_by_name_and_stays_as_it_was(name):
    attention, reason = UNSUPPORTED[name]
    model = make(name, attention=attention)
    with pytest.raises(ValueError, match=f"^{name}.* cannot be made bidirectional: .*{reason}"):
        bidirectional.make_bidirectional(model)
    assert getattr(model.config, "is_causal", True)


@pytest.mark.parametrize("name", [name for name in UNSUPPORTED if name not in NOT_SEEN_BY_THE_GUARD])
def test_the_guard_finds_out_by_itself(name, monkeypatch):
    monkeypatch.setattr(switch, "check_supported", lambda model: None)
    model = make(name, attention=UNSUPPORTED[name][0])
    with pytest.raises(ValueError, match=f"{name} still reads from left to right"):
        bidirectional.make_bidirectional(model)
    assert not hasattr(model.config, "is_causal"), "a failed switch is taken back"


def test_a_setting_inside_the_layers_is_not_enough():
    """The trick of older code: with padding the model is causal again, which a glance without padding does not show."""
    model = make("llama", attention="sdpa")
    for layer in model.layers:
        layer.self_attn.is_causal = False
    assert (states(model, ids())[:, 0] - states(make("llama", attention="sdpa"), ids())[:, 0]).abs().max() > 0.01
    with pytest.raises(ValueError, match=r"still reads from left to right \((left|right)\)"):
        bidirectional.check_bidirectional(model)


@pytest.mark.parametrize("name", ["stablelm", "nemotron"])
def test_the_advice_of_a_refusal_works(name):
    model = bidirectional.make_bidirectional(make(name, attention="eager"))
    assert looks_ahead(model)


def test_learned_positions_need_padding_on_the_right(caplog):
    model = bidirectional.make_bidirectional(make("gpt2"))
    assert "gpt2 is right with padding on the right only" in caplog.text
    assert looks_ahead(model, padded("right"))
    with pytest.raises(ValueError, match="gpt2: padding on the left changes the states"):
        bidirectional.check_bidirectional(model, sides=("left",))


def test_an_encoder_passes_the_guard():
    bidirectional.check_bidirectional(make("bert"), sides=("right",))


def test_every_listed_kind_of_layer_and_architecture_has_a_reason():
    for found in (*architectures.REFUSED.values(), *architectures.REFUSED_LAYERS.values()):
        assert len(found.reason) > 20
    assert not set(architectures.RIGHT_PADDING_ONLY) & set(architectures.REFUSED)


def test_the_guard_changes_neither_modes_nor_weights():
    model = bidirectional.make_bidirectional(make("llama")).train()
    model.layers[0].eval()
    before = copy.deepcopy(model.state_dict())
    modes = [module.training for module in model.modules()]
    bidirectional.check_bidirectional(model)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_the_guard_works_in_other_precisions(dtype):
    for name in ("llama", "gemma3_text"):
        model = make(name).to(dtype)
        with pytest.raises(ValueError, match="still reads"):
            bidirectional.check_bidirectional(model)
        bidirectional.make_bidirectional(model)


# --- sliding windows -------------------------------------------------------------------------------------------------

WINDOWED = {"mistral": {}, "gemma3_text": {}, "qwen2": {"use_sliding_window": True, "max_window_layers": 0}}


def reach(model, length=40):
    """Return how many tokens back and ahead of the middle one layer sees."""
    tokens, middle = ids(1, length), length // 2
    seen = []
    for place in range(length):
        other = tokens.clone()
        other[0, place] = 270
        if (states(model, tokens) - states(model, other))[0, middle].abs().max() > 1e-5:
            seen.append(place - middle)
    return -min(seen), max(seen)


@pytest.mark.parametrize("name", WINDOWED)
def test_windows_are_named_or_lifted(name, caplog, tmp_path):
    from transformers import AutoModel

    options = {"sliding_window": 5, "num_hidden_layers": 1, **WINDOWED[name]}
    kept = bidirectional.make_bidirectional(make(name, **options))
    assert "see 5 tokens back and 5 ahead" in caplog.text
    assert reach(kept) == (5, 5)
    caplog.clear()
    lifted = bidirectional.make_bidirectional(make(name, **options), window="lift")
    assert not caplog.text
    assert reach(lifted) == (20, 19)
    lifted.save_pretrained(tmp_path)
    assert reach(AutoModel.from_pretrained(tmp_path).eval()) == (20, 19)
    if name == "gemma3_text":
        kinds = make(name, **options).config.layer_types
        assert lifted.config.layer_types == kinds, "the kind of a layer decides its positions"
        short = ids(1, 5)
        torch.testing.assert_close(states(kept, short), states(lifted, short))


def test_an_unknown_window_is_refused():
    with pytest.raises(ValueError, match="unknown window 'lifted'; did you mean 'lift'"):
        bidirectional.make_bidirectional(make("llama"), window="lifted")


# --- back to causal --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*SUPPORTED, "falcon"])
def test_back_to_causal_gives_the_language_model_again(name, tmp_path):
    original = make(name, head=True)
    model = bidirectional.make_bidirectional(make(name, head=True))
    wanted = bidirectional.complete(original, byte_tokenizer(), "one two", max_new_tokens=8)
    assert bidirectional.complete(model, byte_tokenizer(), "one two", max_new_tokens=8) == wanted
    assert model.config.is_causal is False
    with bidirectional.causal(model) as inside:
        assert inside is model
        torch.testing.assert_close(states(model, ids()), states(original, ids()))
    assert looks_ahead(model)
    bidirectional.make_causal(model)
    assert not looks_ahead(model)
    torch.testing.assert_close(states(model, ids()), states(original, ids()))


def test_generation_with_the_switch_on_reads_otherwise():
    model = bidirectional.make_bidirectional(make("smollm", head=True))
    texts = {
        as_it_is: bidirectional.complete(model, byte_tokenizer(), "one two", max_new_tokens=12, as_it_is=as_it_is)
        for as_it_is in (False, True)
    }
    assert texts[True] != texts[False]


def test_the_context_takes_itself_back_after_an_error_and_leaves_no_trace():
    model = make("llama")
    with pytest.raises(RuntimeError), bidirectional.causal(model):
        raise RuntimeError
    assert "is_causal" not in model.config.__dict__
    bidirectional.make_bidirectional(model)
    with pytest.raises(RuntimeError), bidirectional.causal(model):
        raise RuntimeError
    assert model.config.is_causal is False


def test_the_list_of_supported_models_is_that_of_the_tests():
    assert set(SUPPORTED) | set(UNSUPPORTED) <= set(CONFIGS)
