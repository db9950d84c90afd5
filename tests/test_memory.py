"""Memory by arithmetic: against peft and autograd on models that are real, and against published numbers."""

import pytest
import torch

from helpers import decoder_sizes, memory, models

# Backbone, rank-16 adapters on all linear layers / on q, k, v, o / on q, v, and GB in float32, bfloat16 and NF4.
TABLE = {
    "mistral-7b": (7_110_660_096, 41_943_040, 13_631_488, 6_815_744, 28.4, 14.2, 3.9),
    "llama-2-7b": (6_607_343_616, 39_976_960, 16_777_216, 8_388_608, 26.4, 13.2, 3.6),
    "llama-3-8b": (7_504_924_672, 41_943_040, 13_631_488, 6_815_744, 30.0, 15.0, 4.7),
    "qwen2-7b": (7_070_619_136, 40_370_176, 10_092_544, 5_046_272, 28.3, 14.1, 4.5),
    "llama-3.2-1b": (1_235_814_400, 11_272_192, 3_407_872, 1_703_936, 4.9, 2.5, 1.0),
    "sheared-llama-1.3b": (1_279_887_360, 14_991_360, 6_291_456, 3_145_728, 5.1, 2.6, 0.8),
    "smollm2-135m": (134_515_008, 4_884_480, 1_843_200, 921_600, 0.5, 0.3, 0.1),
}


@pytest.mark.parametrize("name", TABLE)
def test_the_table_of_known_models(name):
    found = decoder_sizes.sizes(name)
    attention = "q_proj,k_proj,v_proj,out_proj,o_proj"
    counts = [found.lora_parameters(16, targets) for targets in ("all-linear", attention, "q_proj,v_proj")]
    bytes_ = [memory.weight_bytes(name, weights) / 1e9 for weights in ("float32", "bfloat16", "nf4")]
    assert (found.parameters, *counts) == TABLE[name][:4]
    assert bytes_ == pytest.approx(TABLE[name][4:], abs=0.051)


@pytest.mark.parametrize("name", [name for name in decoder_sizes.ARCHITECTURES if name in models.REGISTRY])
def test_counts_are_those_of_the_registry(name):
    """Where the output head is not tied, the registry counts it and a backbone has none."""
    config = decoder_sizes.ARCHITECTURES[name]
    head = config["vocab_size"] * config["hidden_size"] if name.startswith("llama") else 0
    assert decoder_sizes.sizes(name).parameters + head == models.REGISTRY[name].parameters


@pytest.mark.parametrize("name", ["mistral-7b", "opt-350m"])
def test_adapters_have_as_many_numbers_as_pefts(name):
    from peft import LoraConfig, get_peft_model

    options = LoraConfig(r=16, target_modules="all-linear", task_type="FEATURE_EXTRACTION")
    peft = get_peft_model(decoder_sizes.skeleton(name), options, low_cpu_mem_usage=True)
    trainable = sum(weight.numel() for weight in peft.parameters() if weight.requires_grad)
    assert decoder_sizes.sizes(name).lora_parameters(16) == trainable


# --- activations, counted again --------------------------------------------------------------------------------------


def tiny(kind, layers):
    """Make a small decoder of a kind; its keys are narrower than its states where the kind allows it."""
    from transformers import AutoConfig, AutoModel

    sizes = {"hidden_size": 256, "num_hidden_layers": layers, "num_attention_heads": 8, "vocab_size": 300}
    own = {"llama": {"intermediate_size": 704, "num_key_value_heads": 2}, "opt": {"ffn_dim": 1024}}[kind]
    if kind == "opt":
        own["word_embed_proj_dim"] = 256
    return AutoModel.from_config(AutoConfig.for_model(kind, **sizes, **own)).train()


def saved_bytes(model, tokens):
    """Count the bytes that autograd keeps of a forward pass, each storage once and no weights."""
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = tensor, storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = model(input_ids=torch.zeros(2, tokens // 2, dtype=torch.long), use_cache=False)
    assert output.last_hidden_state.requires_grad
    return sum(size for _, size in kept.values())


@pytest.mark.parametrize("width", [4, 2])
@pytest.mark.parametrize("trained", ["all weights", "adapters", "adapters with dropout"])
@pytest.mark.parametrize("kind", ["llama", "opt"])
def test_activations_are_what_autograd_keeps(kind, trained, width):
    from peft import LoraConfig, get_peft_model

    counts, tokens = [], 64
    for layers in (1, 2):
        model = tiny(kind, layers).to({4: torch.float32, 2: torch.bfloat16}[width])
        if trained != "all weights":
            options = {"target_modules": "all-linear", "task_type": "FEATURE_EXTRACTION"}
            model = get_peft_model(model, LoraConfig(r=1, lora_dropout=0.1 * ("dropout" in trained), **options))
        counts.append(saved_bytes(model, tokens))
    shape = {"llama": ("gated", 64, 704), "opt": ("opt", 256, 1024)}[kind]
    found = decoder_sizes.Sizes(0, (), layers=1, hidden=256, keys=shape[1], inner=shape[2], kind=shape[0])
    estimate = memory.activation_bytes(found, tokens, trained=trained, width=width)
    assert counts[1] - counts[0] == pytest.approx(estimate, rel=0.02)


# --- training --------------------------------------------------------------------------------------------------------


def test_full_training_takes_the_sixteen_bytes_a_weight_of_the_zero_paper():
    count = decoder_sizes.sizes("opt-6.7b").parameters
    whole = memory.memory_estimate("opt-6.7b")
    assert whole.total == 16 * count
    assert memory.memory_estimate("opt-6.7b", weights="float32").total == 16 * count
    stages = [memory.memory_estimate("opt-6.7b", zero_stage=stage, gpus=8).total for stage in range(4)]
    assert stages == [16 * count, (4 + 12 / 8) * count, (2 + 14 / 8) * count, 16 / 8 * count]


def test_adapters_take_sixteen_bytes_a_number_beside_the_frozen_weights():
    numbers = decoder_sizes.sizes("mistral-7b").lora_parameters(16)
    for weights in ("float32", "bfloat16", "nf4"):
        estimate = memory.memory_estimate("mistral-7b", weights=weights, lora_rank=16)
        assert estimate.total == pytest.approx(memory.weight_bytes("mistral-7b", weights) + 16 * numbers)
    assert memory.memory_estimate("mistral-7b", lora_rank=16, optimiser="sgd").optimiser == 0


def test_what_makes_activations_smaller():
    options = {"weights": "bfloat16", "lora_rank": 16}
    some, more = (memory.memory_estimate("mistral-7b", tokens=tokens, **options).activations for tokens in (512, 1024))
    assert more == 2 * some > 0
    kept = memory.memory_estimate("mistral-7b", tokens=512, checkpointing=True, **options).activations
    inputs = 512 * 32 * 4096 * 2
    assert kept == pytest.approx(inputs + some / 32)
    assert memory.memory_estimate("mistral-7b", **options).activations == 0
    assert memory.memory_estimate("mistral-7b", tokens=512, lora_dropout=0.05, **options).activations > 1.3 * some


def test_the_largest_opt_fits_one_large_gpu_in_four_bits_alone():
    assert memory.weight_bytes("opt-66b") > 80e9 > memory.memory_estimate("opt-66b", weights="nf4", lora_rank=64).total


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": "nf4"}, "give a lora_rank"),
        ({"weights": "float8"}, "unknown precision 'float8'"),
        ({"optimiser": "adam"}, "did you mean 'adamw'"),
        ({"zero_stage": 4}, "zero_stage=4"),
        ({"gpus": 0}, "gpus=0"),
        ({"tokens": -1}, "tokens=-1"),
        ({"lora_rank": 0}, "lora_rank=0"),
    ],
)
def test_what_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        memory.memory_estimate("opt-125m", **options)
    with pytest.raises(ValueError, match="did you mean 'opt-125m'"):
        memory.weight_bytes("opt-125")
