"""Synthetic data: which prompts are sent, what answers must look like, and which of them become examples."""

from helpers.synthesis.asking import Plan, Request, brainstorms, request, requests
from helpers.synthesis.cost import Estimate, Rate, estimate, measured_rate
from helpers.synthesis.detecting import is_wrong_language, probabilities
from helpers.synthesis.duplicates import Seen
from helpers.synthesis.examples import COLUMNS, Example
from helpers.synthesis.filters import FILTERS, Answer, Dropped, Toll, sift
from helpers.synthesis.languages import CODES, published_shares
from helpers.synthesis.parsing import ParseError, parse, parse_tasks
from helpers.synthesis.running import Options, brainstorm, load, order_for, run
from helpers.synthesis.schema import json_schema, token_budget
from helpers.synthesis.statistics import (
    difference_of_shares,
    distinct_ngrams,
    effective_number,
    lengths,
    share_interval,
    shares,
    task_clusters,
)
from helpers.synthesis.taxonomy import GROUPS, TWO_STEP, Group, group_named, published_group_shares

__all__ = [
    "CODES",
    "COLUMNS",
    "FILTERS",
    "GROUPS",
    "TWO_STEP",
    "Answer",
    "Dropped",
    "Estimate",
    "Example",
    "Group",
    "Options",
    "ParseError",
    "Plan",
    "Rate",
    "Request",
    "Seen",
    "Toll",
    "brainstorm",
    "brainstorms",
    "difference_of_shares",
    "distinct_ngrams",
    "effective_number",
    "estimate",
    "group_named",
    "is_wrong_language",
    "json_schema",
    "lengths",
    "load",
    "measured_rate",
    "order_for",
    "parse",
    "parse_tasks",
    "probabilities",
    "published_group_shares",
    "published_shares",
    "request",
    "requests",
    "run",
    "share_interval",
    "shares",
    "sift",
    "task_clusters",
    "token_budget",
]
