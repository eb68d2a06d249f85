"""Progress of long work: a bar on a terminal, otherwise one line a minute."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator

_LINE_EVERY = 60.0

log = logging.getLogger("cbir")


class Progress:
    """Counts images that are done.

    Parameters
    ----------
    total : int
    description : str
        What is being done, for the bar or the line.
    """

    def __init__(self, total: int, description: str) -> None:
        self.total, self.description, self.done = total, description, 0
        self._started = self._said = time.monotonic()
        self._bar = None
        if sys.stderr.isatty() and log.isEnabledFor(logging.INFO):
            from tqdm import tqdm

            self._bar = tqdm(total=total, desc=description, unit=" images", leave=False, file=sys.stderr)

    def advance(self, count: int = 1) -> None:
        """Count more images as done."""
        self.done += count
        if self._bar is not None:
            self._bar.update(count)
            return
        now = time.monotonic()
        if now - self._said >= _LINE_EVERY:
            self._said = now
            speed = self.done / (now - self._started)
            left = (self.total - self.done) / speed / 60 if speed else 0
            log.info("%s: %d of %d, %.1f images/s, %.0f min left", self.description, self.done, self.total, speed, left)

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()


def track(iterable: Iterable, total: int, description: str) -> Iterator:
    """Yield from an iterable, counting each as done."""
    progress = Progress(total, description)
    try:
        for item in iterable:
            yield item
            progress.advance()
    finally:
        progress.close()
