"""A value and how sure we are of it: bootstrap over what was sampled, and spread over seeds."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats

CHUNK = 200  # resamples held at once: bounds the memory of a bootstrap on long lists


@dataclasses.dataclass(frozen=True)
class Interval:
    """A value with a 95 % interval.

    Attributes:
        value: The value on the whole sample, or the mean over seeds.
        low: Lower end.
        high: Upper end.
        noise: What the interval is about: ``bootstrap`` (another sample of texts from the same source), ``k-means``
            or ``training`` (another seed).
        values: The single values behind it, one for each seed or fold; empty where there are none.
        seeds: The seeds of these values; empty where they have none.
    """

    value: float
    low: float
    high: float
    noise: str = "bootstrap"
    values: tuple[float, ...] = ()
    seeds: tuple[int, ...] = ()

    @property
    def excludes_zero(self) -> bool:
        """Whether the whole interval lies on one side of zero; an interval without width (one seed) says nothing."""
        return self.high > self.low and (self.low > 0 or self.high < 0)

    @property
    def sd(self) -> float | None:
        """Standard deviation of the single values (ddof 1), or None where there are fewer than two."""
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else None

    def __str__(self) -> str:
        """Print as ``77.3 [74.1, 80.2]``."""
        return f"{self.value:.1f} [{self.low:.1f}, {self.high:.1f}]"


def over_seeds(values: Sequence[float], seeds: Sequence[int] = (), *, noise: str = "k-means") -> Interval:
    """Return the mean of one value a seed, with the 95 % interval of that mean (Student's t).

    The interval is about the *seed*: what other starts of the same algorithm on the same texts would give on average.
    A single seed says nothing about that; then the interval is the value alone.

    Raises:
        ValueError: For no values, values that are not finite, or seeds that do not match them.
    """
    found = np.asarray(values, dtype=np.float64)
    if found.ndim != 1 or len(found) == 0 or not np.isfinite(found).all():
        raise ValueError(f"values={values!r} should be a list of finite numbers, one a seed")
    if len(seeds) not in (0, len(found)):
        raise ValueError(f"{len(seeds)} seeds do not match {len(found)} values")
    half = 0.0
    if len(found) > 1:
        half = float(stats.t.ppf(0.975, len(found) - 1) * found.std(ddof=1) / np.sqrt(len(found)))
    mean = float(found.mean())
    return Interval(mean, mean - half, mean + half, noise, tuple(map(float, found)), tuple(map(int, seeds)))


def difference_over_seeds(
    values: Sequence[float], control: Sequence[float], seeds: Sequence[int] = (), *, noise: str = "k-means"
) -> Interval:
    """Return how much higher values are than a control's with the same seeds, as `over_seeds` of the differences."""
    if len(values) != len(control):
        raise ValueError(f"{len(values)} values and {len(control)} of the control should come from the same seeds")
    return over_seeds(np.subtract(values, control), seeds, noise=noise)


def mean_interval(values: Sequence[float], *, resamples: int, rng: np.random.Generator) -> Interval:
    """Return the mean of one value an item (a query, a text), with a bootstrap interval over items."""
    found = np.asarray(values, dtype=np.float64)
    if found.ndim != 1 or len(found) == 0 or not np.isfinite(found).all():
        raise ValueError("values should be a list of finite numbers, one an item")
    return bootstrap(float(found.mean()), lambda rows: found[rows].mean(axis=1), len(found), resamples, rng)


def mean_difference(
    values: Sequence[float], control: Sequence[float], *, resamples: int, rng: np.random.Generator
) -> Interval:
    """Return how much higher the mean is than a control's on the same items, with its paired bootstrap interval."""
    if len(values) != len(control):
        raise ValueError(f"{len(values)} values and {len(control)} of the control should be of the same items")
    return mean_interval(np.subtract(values, control), resamples=resamples, rng=rng)


def bootstrap(
    value: float, statistic: Callable[[np.ndarray], np.ndarray], n: int, resamples: int, rng: np.random.Generator
) -> Interval:
    """Bootstrap a statistic of ``(R, N)`` row indices and take the 2.5 and 97.5 percentiles (Efron 1979)."""
    if resamples < 1:
        raise ValueError(f"resamples={resamples} should be at least 1")
    sizes = [min(CHUNK, resamples - start) for start in range(0, resamples, CHUNK)]
    drawn = np.concatenate([statistic(rng.integers(0, n, size=(size, n))) for size in sizes])
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Interval(value, float(low), float(high))
