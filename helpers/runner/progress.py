"""Lines that tell how far a chapter is, not too many of them."""

from __future__ import annotations

import sys
from collections.abc import Callable

from helpers.runner.watch import Watched

SECONDS_ON_TERMINAL = 4.0
SECONDS_IN_LOG = 15.0


class Ticker:
    """Tells of the cell that a chapter is in, every few seconds; less often where no terminal listens."""

    def __init__(self, chapter: str, say: Callable[[str], None]) -> None:
        self.chapter = chapter
        self.say = say
        self.seconds_between = SECONDS_ON_TERMINAL if sys.stdout.isatty() else SECONDS_IN_LOG
        self.next = self.seconds_between

    def __call__(self, seen: Watched) -> None:
        """Look at a running chapter, and say a line if it is time for one."""
        if seen.seconds < self.next or not seen.cell or seen.problem:
            return
        self.next = seen.seconds + self.seconds_between
        self.say(f"[{self.chapter}] cell {seen.cell['cell']}/{seen.cell['total']} ({clock(seen.seconds)})")


def clock(seconds: float) -> str:
    """Write seconds as minutes and seconds, ``1:23``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
