"""What the processes of `test_distributed` run, started by torchrun; the test itself runs the same in one process."""

import sys
from pathlib import Path

import torch
from transformers import TrainerCallback

from helpers import contrastive, prompts
from helpers.contrastive import __main__ as command_line
from helpers.contrastive import adapters, decoder_trainer, processes

RECIPE = contrastive.DecoderRecipe(
    template=prompts.PROMPT_EOL, pooling="last", learning_rate=1e-3, temperature=0.1, batch_size=8, steps=1,
    lora_rank=4, lora_alpha=8, precision="float32",
)  # fmt: skip
WAYS = {
    "whole": {},
    "in pieces": {"mini_batch_size": 3},
    "symmetric": {"symmetric": True},
    "pairs": {"hard_negatives": False},
}


class Gradients(TrainerCallback):
    """Keeps the gradient of the last step."""

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        grads = [weight.grad.flatten() for weight in model.parameters() if weight.requires_grad]
        self.last = torch.cat(grads).clone()


def gradients(rows):
    """Return the loss and the gradient of a first step in every way, with adapters that add something already."""
    import tiny_decoders

    original, add_lora = decoder_trainer.make_callbacks, adapters.add_lora

    def with_random_b(model, options):
        peft = add_lora(model, options)
        for name, weight in peft.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=0.1)
        return peft

    found = {}
    try:
        for way, changes in WAYS.items():
            watcher = Gradients()
            decoder_trainer.make_callbacks = lambda progress, own=watcher: [*original(progress), own]
            adapters.add_lora = with_random_b
            recipe = contrastive.DecoderRecipe(**{**vars(RECIPE), **changes})
            model, tokenizer = tiny_decoders.byte_llama(), tiny_decoders.byte_tokenizer()
            trained = contrastive.train_decoder(model, tokenizer, rows, recipe=recipe, seed=1)
            found[way] = (trained.losses[0], watcher.last)
    finally:
        decoder_trainer.make_callbacks, adapters.add_lora = original, add_lora
    return found


def command(folder, name):
    """Return the arguments of a training by the command line."""
    return [
        "--model", "opt-125m", "--data", str(folder / "rows.jsonl"), "--recipe", "PromptEOL CSE (laptop)",
        "--set", "batch_size=4", "--set", "steps=5", "--set", "lora_dropout=0.0", "--set", "precision=float32",
        "--output", str(folder / name / "run"), "--export", str(folder / name / "encoder"), "--bidirectional",
    ]  # fmt: skip


if __name__ == "__main__":
    import tiny_decoders

    place = Path(sys.argv[1])
    results = gradients(tiny_decoders.triplets(8))
    if processes.is_main():
        torch.save(results, place / "gradients.pt")
    command_line.main(command(place, "two"))
