"""Signals that ask a command to end: at once, or at the next place where nothing is lost."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
"""What long work ends at: Ctrl-C, ``kill``, the terminal's end, and what SLURM sends ahead of a job's time limit."""


_TOGETHER = 2.0
"""Seconds within which signals count as one."""


class Terminated(SystemExit):
    """A signal: unwinds like an error, so that temporary files are removed."""


def terminate(number: int, frame: FrameType | None = None) -> NoReturn:
    """End the command with the status of a signal; a handler."""
    raise Terminated(128 + number)


@contextmanager
def deferred() -> Iterator[Callable[[], int]]:
    """Within this block the first signal is only remembered; one that comes later ends the command at once.

    Two at a time count as one: a cluster tells the processes, and their launcher tells them again.

    Yields
    ------
    callable
        Returns the number of the signal that has come, or 0.
    """
    came: list[tuple[int, float]] = []

    def remember(number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if not came:
            came.append((number, now))
        elif now - came[0][1] > _TOGETHER:
            terminate(number)

    before = {number: signal.getsignal(number) for number in ENDING}
    try:
        for number, handler in before.items():
            if handler is not signal.SIG_IGN:  # as under nohup
                signal.signal(number, remember)
        yield lambda: came[0][0] if came else 0
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
