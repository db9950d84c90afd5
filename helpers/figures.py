"""One style for all pictures, and pictures that carry their caption and a text for those who cannot see them."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from helpers.evaluation import Interval

# Okabe & Ito's colours, which readers with any kind of colour vision can tell apart.
BLUE, ORANGE, GREEN, RED, PURPLE, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#777777"
# Eight colours and as many forms, for points of up to eight groups.
SERIES = (BLUE, ORANGE, GREEN, RED, PURPLE, "#56B4E9", "#000000", "#B8860B")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
WIDTH = 6.4  # inches; the text column of the page
STYLE = {
    "figure.dpi": 100,
    "savefig.dpi": 200,
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "axes.titlesize": 10,
    "legend.frameon": False,
}


def figure(height: float, *, columns: int = 1) -> tuple[Figure, list[Axes]]:
    """Return a new figure in the book's style, and its axes from left to right.

    Args:
        height: Inches.
        columns: Panels side by side.
    """
    with plt.rc_context(STYLE):
        new, axes = plt.subplots(1, columns, figsize=(WIDTH, height), squeeze=False, layout="constrained")
    return new, list(axes[0])


def show(picture: Figure, *, label: str, caption: str, alt: str) -> None:
    """Display a figure with its label, caption and alternative text, and close it.

    They travel in the output's metadata; the book turns them into a numbered figure, and Jupyter ignores them.

    Args:
        picture: The figure.
        label: ``fig-…``, unique in the book.
        caption: One or two sentences: what is drawn, and from what.
        alt: What is to be seen, for a reader who cannot see it.

    Raises:
        ValueError: For a label without ``fig-``, or an empty caption or alternative text.
    """
    from IPython.display import display

    if not label.startswith("fig-"):
        raise ValueError(f"figure label {label!r} should begin with 'fig-'")
    if not caption.strip() or not alt.strip():
        raise ValueError(f"figure {label!r} needs a caption and an alternative text")
    with plt.rc_context(STYLE), io.BytesIO() as buffer:
        picture.savefig(buffer, format="png", facecolor="white")
        data = base64.b64encode(buffer.getvalue()).decode()
    plt.close(picture)
    about = {"book": {"label": label, "caption": caption, "alt": alt}}
    display({"image/png": data, "text/plain": f"[{alt}]"}, raw=True, metadata=about)


def intervals(
    axis: Axes, names: Sequence[str], values: Sequence[Interval], *, reference: float | None = None, colour: str = BLUE
) -> None:
    """Draw values with their 95 % intervals as points, the first on top.

    Args:
        axis: Where to draw.
        names: One for each value.
        values: The intervals.
        reference: A vertical line, such as 0 for differences or the score of a control.
        colour: Of points and bars.
    """
    rows = np.arange(len(names))[::-1]
    middle = np.array([value.value for value in values])
    ends = np.array([[value.value - value.low, value.high - value.value] for value in values]).T  # (2, N)
    axis.errorbar(middle, rows, xerr=np.maximum(ends, 0), fmt="o", color=colour, capsize=3)
    axis.set_yticks(rows, names)
    axis.grid(axis="y", visible=False)
    if reference is not None:
        axis.axvline(reference, color=GREY, linestyle="--", linewidth=1)


def heatmap(axis: Axes, matrix: np.ndarray, labels: Sequence[str], *, low: float, high: float) -> None:
    """Draw a matrix of similarities with its numbers, in colours that differ in lightness too."""
    axis.imshow(matrix, vmin=low, vmax=high, cmap="cividis")
    axis.set_xticks(range(len(labels)), labels, rotation=30, ha="right")
    axis.set_yticks(range(len(labels)), labels)
    axis.grid(visible=False)
    middle = (low + high) / 2
    for (row, column), value in np.ndenumerate(matrix):
        colour = "black" if value > middle else "white"
        axis.text(column, row, f"{value:.2f}", ha="center", va="center", color=colour, fontsize=8)


def text_map(
    axis: Axes, points: np.ndarray, groups: Sequence[object], *, shown: Sequence[object] | None = None
) -> None:
    """Draw texts as points in the plane, coloured by group; groups beyond the first eight stay grey.

    Args:
        axis: Where to draw.
        points: ``(N, 2)``, from `flatten`.
        groups: ``(N,)`` cluster numbers or labels.
        shown: The groups to colour, at most eight; the most frequent where None.
    """
    names, counts = np.unique(np.asarray(groups), return_counts=True)
    shown = list(names[np.argsort(-counts, kind="stable")][:8] if shown is None else shown)[:8]
    rest = ~np.isin(np.asarray(groups), shown)
    axis.scatter(*points[rest].T, s=6, color="#cccccc")
    for position, name in enumerate(shown):
        chosen = np.asarray(groups) == name
        colour, marker = SERIES[position % len(SERIES)], MARKERS[position % len(MARKERS)]
        axis.scatter(*points[chosen].T, s=14, color=colour, marker=marker, label=str(name), linewidths=0)
    axis.set(xticks=[], yticks=[])
    axis.grid(visible=False)


def flatten(embeddings: np.ndarray, *, seed: int, neighbours: int = 15) -> np.ndarray:
    """Return UMAP's picture of embeddings in the plane, ``(N, 2)``, with cosine distance (McInnes et al. 2018).

    Near texts mostly stay near. Sizes of groups, gaps between them and empty places mean nothing, and another seed or
    another number of neighbours gives another picture.

    Raises:
        ValueError: For fewer than four texts, which have no picture worth drawing.
    """
    if len(embeddings) < 4:
        raise ValueError(f"{len(embeddings)} texts are too few for a map; at least 4 are needed")
    import umap  # compiles at import, which takes seconds that most chapters need not spend

    neighbours = min(neighbours, len(embeddings) - 1)
    model = umap.UMAP(metric="cosine", random_state=seed, n_neighbors=neighbours, n_jobs=1, init="random")
    return model.fit_transform(np.asarray(embeddings, dtype=np.float32))
