"""``make bench``: how fast texts become vectors, and questions answers, as ratios measured in one run.

Times on a shared machine swing by several times, so each comparison alternates between the two sides and reports the
median of the ratios of neighbouring runs.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch

from helpers import contrastive, datasets, embedding, llm, models, prompts, settings, synthesis, triplets
from helpers.contrastive import in_batch, student

ROUNDS = 3
BATCH = 32  # texts in a batch of sentence-transformers, and their tokens in a batch of ours
QUESTIONS = 8
TEXTS, LENGTH = 32, 48  # texts to be written, and tokens of each
PADDED = 512  # tokens to which a careless training step pads every text
LAYERS = 1  # of the decoder, so that such a step takes seconds
MATRICES = ((1024, 576, 1536), (1024, 1536, 576), (4096, 576, 1536), (2048, 2048, 2048))


def seconds(run: Callable[[], object]) -> float:
    """Return how long one call takes, in seconds."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def paired(ours: Callable[[], object], theirs: Callable[[], object]) -> tuple[float, float, float]:
    """Run both in turn, after one warm-up; return the median seconds of each and the median ratio theirs / ours."""
    ours(), theirs()
    times = [(seconds(ours), seconds(theirs)) for _ in range(ROUNDS)]
    a, b = (statistics.median(side) for side in zip(*times, strict=True))
    return a, b, statistics.median(other / own for own, other in times)


def matrix_rate(dtype: torch.dtype) -> float:
    """Return the best measured rate of a matrix product ``(M, K) @ (K, N)`` of the model's sizes, in GFLOP/s."""
    best = 0.0
    for m, k, n in MATRICES:
        left, right = torch.randn(m, k, dtype=dtype), torch.randn(n, k, dtype=dtype)
        torch.nn.functional.linear(left, right)
        fastest = min(seconds(lambda a=left, b=right: torch.nn.functional.linear(a, b)) for _ in range(8))
        best = max(best, 2 * m * k * n / fastest / 1e9)
    return best


def stock_encoder(path: str, template: str) -> object:
    """Return a SentenceTransformer of the same weights, whose chat template is the prompt (no custom code)."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    chat = template.replace(prompts.SLOT, '{{ messages[-1]["content"] }}')
    transformer = Transformer(path, processor_kwargs={"chat_template": chat})
    return SentenceTransformer(
        modules=[transformer, Pooling(transformer.get_embedding_dimension(), "lasttoken")], device="cpu"
    )


def against_stock(name: str, template: str, texts: Sequence[str]) -> float:
    """Compare `Embedder` with ``SentenceTransformer.encode``: same weights, template and batch. Return the ratio."""
    model, tokenizer = models.load_decoder(name)
    ours = embedding.Embedder(model, tokenizer, template=template, pooling="last")
    length = statistics.mean(len(ids) for ids in ours.token_ids(texts))
    ours.batch_tokens = round(BATCH * length)
    stock = stock_encoder(models.locate(models.spec(name))[0], template)
    difference = float(np.abs(ours.encode(texts) - stock.encode(list(texts), batch_size=BATCH)).max())
    own, other, ratio = paired(
        lambda: ours.encode(texts), lambda: stock.encode(list(texts), batch_size=BATCH, show_progress_bar=False)
    )
    print(
        f"  {length:.0f} tokens a text: ours {len(texts) / own:.1f} texts/s, sentence-transformers "
        f"{len(texts) / other:.1f} texts/s, ratio {ratio:.2f} (largest difference of a vector's entry {difference:.1e})"
    )
    return ratio


@torch.inference_mode()
def plain_encode(embedder: embedding.Embedder, texts: Sequence[str]) -> np.ndarray:
    """Encode as a simple loop does: texts as they come, all padded to the longest of the whole list, nothing shared."""
    pad_id = embedder.tokenizer.pad_token_id or 0
    ids, mask = embedding.pad(embedder.token_ids(texts), pad_id=pad_id, side="left")
    batches = zip(ids.split(BATCH), mask.split(BATCH), strict=True)
    states = [embedder.model(input_ids=i, attention_mask=m).last_hidden_state[:, -1] for i, m in batches]
    return torch.cat(states).float().numpy()


def against_simpler(name: str, template: str, texts: Sequence[str]) -> dict[str, float]:
    """Compare `Embedder` with itself without a shared prefix, and with a plain loop; return both ratios."""
    model, tokenizer = models.load_decoder(name)
    ours, alone = (
        embedding.Embedder(model, tokenizer, template=template, pooling="last", share_prefix=share)
        for share in (True, False)
    )
    simpler = {
        "the same without prefix sharing": lambda: alone.encode(texts),
        "a plain loop": lambda: plain_encode(ours, texts),
    }
    ratios = {}
    for what, run in simpler.items():
        difference = float(np.abs(ours.encode(texts) - run()).max())
        own, other, ratios[what] = paired(lambda: ours.encode(texts), run)
        print(
            f"  ours {len(texts) / own:.1f} texts/s, {what} {len(texts) / other:.1f} texts/s, ratio "
            f"{ratios[what]:.2f} (largest difference of a vector's entry {difference:.1e})"
        )
    return ratios


def share_of_matrix_rate(name: str, texts: Sequence[str], dtype: str) -> float:
    """Return useful floating-point operations of encoding, as a share of the machine's matrix rate.

    Useful are ``2 x weights x tokens``, with the weights of the layers (the embedding table is only looked up) and the
    tokens of the texts; padding, attention scores and everything else count as waste.
    """
    model, tokenizer = models.load_decoder(name, dtype=dtype)
    embedder = embedding.Embedder(model, tokenizer, template=prompts.PROMPT_EOL, pooling="last", share_prefix=False)
    weights = sum(p.numel() for p in model.parameters()) - model.get_input_embeddings().weight.numel()
    tokens = sum(len(ids) for ids in embedder.token_ids(list(dict.fromkeys(texts))))
    embedder.encode(texts)
    shares = []
    for _ in range(ROUNDS):
        rate = matrix_rate(model.dtype)
        used = 2 * weights * tokens / seconds(lambda: embedder.encode(texts)) / 1e9
        shares.append(used / rate)
        print(f"  {dtype}: {used:.0f} of {rate:.0f} GFLOP/s, {used / rate:.0%}; {tokens} tokens")
    return statistics.median(shares)


def against_generating(judge: llm.LocalModel, questions: Sequence[tuple[str, str, str]]) -> dict[str, float]:
    """Compare reading probabilities with generating and parsing: same model, same questions, both orders.

    The published scripts generate for one question at a time; `llm.judge` generates in batches, so it is shown too.

    Returns:
        For ``option`` and ``likelihood``, how many times as many questions a second as one-at-a-time generation.
    """
    how = {"instruction": prompts.TRIPLET_INSTRUCTIONS["intents"], "parse": triplets.parse_choice}

    def ask(way: str, asked: Sequence[tuple[str, str, str]] = questions) -> list[llm.Judgement]:
        return llm.judge(judge, asked, way=way, **how)

    ratios = {}
    for way in ("option", "likelihood"):
        own, other, ratios[way] = paired(lambda w=way: ask(w), lambda: [ask("reply", [one]) for one in questions])
        batched = paired(lambda w=way: ask(w), lambda: ask("reply"))[2]
        print(
            f"  {way}: {len(questions) / own:.2f} questions/s, generating one at a time {len(questions) / other:.2f}: "
            f"ratio {ratios[way]:.1f}; to generating in batches {batched:.1f}"
        )
    return ratios


def against_writing_singly(writer: llm.LocalModel, asked: Sequence[str], *, max_tokens: int) -> float:
    """Compare writing many texts at a time with ``generate`` for one prompt after the other. Return the ratio."""
    orders = [llm.Order(prompt, max_tokens) for prompt in asked]
    singly = [writer.reply([prompt], max_tokens=max_tokens)[0] for prompt in asked]
    written = writer.write(orders)
    alike = statistics.mean(one.text == other for one, other in zip(written, singly, strict=True))
    own, other, ratio = paired(
        lambda: writer.write(orders), lambda: [writer.reply([prompt], max_tokens=max_tokens) for prompt in asked]
    )
    tokens = sum(one.tokens for one in written)
    print(
        f"  ours {tokens / own:.0f} tokens/s, singly {tokens / other:.0f}, ratio {ratio:.1f} ({alike:.0%} texts equal)"
    )
    return ratio


def training_step(learner: student.Student, columns: Sequence[Sequence[str]], *, naive: bool) -> torch.Tensor:
    """Return the gradient of one batch.

    Args:
        learner: A decoder with adapters.
        columns: Anchors, positives and negatives.
        naive: Pad every text to 512 tokens, and encode all once more without gradients first, as to log the loss.
    """
    length = {"padding": "max_length", "max_length": PADDED} if naive else {}
    features = [learner.encoder.preprocess(list(texts), processing_kwargs={"text": length}) for texts in columns]
    loss = in_batch.loss_of(learner.encoder, learner.recipe)
    if naive:
        with torch.no_grad():
            loss([dict(column) for column in features])
    learner.encoder.zero_grad()
    loss(features).backward()
    return torch.cat([weight.grad.flatten() for weight in learner.encoder.parameters() if weight.requires_grad])


def against_naive_training(name: str, rows: Sequence[dict[str, str]]) -> float:
    """Compare a training step with the naive one, on the first layers of a decoder. Return the ratio of the times."""
    model, tokenizer = models.load_decoder(name)
    model.layers = model.layers[:LAYERS]
    recipe = contrastive.decoder_recipe("PromptEOL CSE (laptop)", batch_size=len(rows), lora_dropout=0.0)
    learner = student.make_student(model, tokenizer, recipe, seed=0, in_place=True)
    learner.encoder.max_seq_length = PADDED
    columns = [[row[column] for row in rows] for column in ("anchor", "positive", "negative")]
    steps = [lambda: training_step(learner, columns, naive=False), lambda: training_step(learner, columns, naive=True)]
    expected = steps[1]()
    difference = float((steps[0]() - expected).norm() / expected.norm())
    own, other, ratio = paired(*steps)
    print(
        f"  {len(rows)} triplets, {len(model.layers)} layer: ours {own:.2f} s a step, naive {other:.2f} s, ratio "
        f"{ratio:.1f} (relative difference of the gradients {difference:.1e})"
    )
    return ratio


def main() -> None:
    """Print all comparisons."""
    parser = argparse.ArgumentParser(prog="python -m helpers.bench", description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=120, help="sentence pairs to encode")
    rows = datasets.load("book-sts", limit=parser.parse_args().rows)
    texts = [prompts.normalise_sentence(text) for text in (*rows["sentence1"], *rows["sentence2"])]
    name = settings.PROFILES["laptop"].decoder
    print(f"{len(texts)} texts, {torch.get_num_threads()} threads, {models.spec(name).title}, float32")
    print("PromptEOL (goal: at least 1.0)")
    against_stock(name, prompts.PROMPT_EOL, texts)
    demonstration = prompts.with_demonstration("Two cooks slice onions in a busy kitchen.", "Cooking")
    print("PromptEOL with a demonstration (goal: at least 1.5)")
    against_stock(name, demonstration, texts)
    print("The same, against simpler ways (goals: without prefix sharing at least 1.5, a plain loop at least 2.5)")
    against_simpler(name, demonstration, texts)
    print("Share of the measured matrix-product rate (goal: above 72 %)")
    for dtype in dict.fromkeys(("float32", settings.precision("fast"))):
        print(f"  median {share_of_matrix_rate(name, texts, dtype):.0%}")
    print("Judging triplets, against generating and parsing (goals: option at least 5, likelihood at least 3)")
    intents = datasets.load("intents", limit=3 * QUESTIONS)["text"]
    judge = llm.LocalModel(*models.load_decoder(name, head=True))
    against_generating(judge, list(zip(*[iter(intents)] * 3, strict=True)))
    print("Writing texts, against one generate call for each (goal: at least 5)")
    tasks = [one.prompt for one in synthesis.brainstorms(0, TEXTS)]
    against_writing_singly(judge, tasks, max_tokens=LENGTH)
    print("A training step, against the same with two forward passes and padding to 512 tokens")
    against_naive_training(name, list(datasets.load("nli", limit=4)))


if __name__ == "__main__":
    main()
