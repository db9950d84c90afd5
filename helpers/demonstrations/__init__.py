"""Which solved example should stand before the template? The pool, the search for the best, and how far to trust it."""

from helpers.demonstrations.examples import ABOUT, EXAMPLES, of_task
from helpers.demonstrations.halving import Outcome, Rung, doubling, halve
from helpers.demonstrations.pool import Demonstration, own_pool, published_pool, read_pool
from helpers.demonstrations.replay import Halves, regrets, spearman_rows, split_halves
from helpers.demonstrations.search import Search

__all__ = [
    "ABOUT",
    "EXAMPLES",
    "Demonstration",
    "Halves",
    "Outcome",
    "Rung",
    "Search",
    "doubling",
    "halve",
    "of_task",
    "own_pool",
    "published_pool",
    "read_pool",
    "regrets",
    "spearman_rows",
    "split_halves",
]
