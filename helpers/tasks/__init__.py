"""The four tasks as one thing: texts in, scores with intervals out, and differences on the same texts."""

from helpers.tasks.making import load
from helpers.tasks.task import METRICS, Options, Score, Task, options

__all__ = ["METRICS", "Options", "Score", "Task", "load", "options"]
