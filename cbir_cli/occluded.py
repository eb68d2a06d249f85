"""Vectors of one image with a box hidden, for many boxes: only what a box changes is computed again.

A box of 24 pixels changes a small part of the maps in the first blocks of a DenseNet, where half of the time goes. So
the maps of the whole image are kept. For each box and each ``Step`` of the network, the window of its input that counts
is cut out, the step is run on it, and what has changed is pasted into a copy of the kept maps. From where windows cover
most of a map, the rest of the network runs as usual.

It is no approximation: every number is the sum of the same products as in the whole network.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cbir_cli.models._onnx import Graph, Step

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Floats = NDArray[np.float32]
Box = tuple[int, int, int, int]
"""y0, y1, x0, x1: ``image[y0:y1, x0:x1]`` is hidden; an empty box hides nothing."""

_TOGETHER = 8
"""Boxes that run at a time in a thread, at most."""

_MEMORY = 2**26
"""Bytes that a thread has for copies of the kept maps; each box that runs at a time has one."""

_WORTH = 0.6
"""Share of a map from which on a window of it takes as long as the whole: cutting and pasting take time too."""

_CALL, _COPY = 4e6, 1e6
"""Products that a convolution makes in the time that a call of a step takes by itself, and the copies for one box."""


@dataclass(frozen=True)
class Span:
    """What one step computes for a box along one axis.

    Attributes
    ----------
    read, write : slice
        Of the input, and of the output.
    inner : slice
        What is written, as a part of what comes of ``read``.
    """

    read: slice
    write: slice
    inner: slice


def span(start: int, stop: int, step: Step, length: int, result: int) -> Span | None:
    """Return what a step has to compute along one axis, None where nothing of its output changes.

    Parameters
    ----------
    start, stop : int
        What has changed of the input.
    step : Step
    length, result : int
        Of the whole input and the whole output.
    """
    first = max(0, -(-(start - step.after) // step.stride))
    last = min(result - 1, (stop - 1 + step.before) // step.stride)
    if start >= stop or first > last:
        return None
    # A window begins on the step's own grid. Where it ends with the image, the step pads it as it pads the image; where
    # it ends before, the padding spoils the outermost values, and these are not in ``inner``.
    origin = max(0, (step.stride * first - step.before) // step.stride)
    read = slice(step.stride * origin, min(length, step.stride * last + step.after + 1))
    return Span(read, slice(first, last + 1), slice(first - origin, last + 1 - origin))


@dataclass(frozen=True)
class _Windows:
    """What one step reads and writes: numbers of maps, the channels that are written, and the spans of each box."""

    source: int
    target: int
    channels: slice
    run: Callable[[Floats], Floats]
    rows: Sequence[Span | None]
    columns: Sequence[Span | None]

    def of(self, box: int) -> tuple[Span, Span] | None:
        """Return the spans of a box; None where it changes nothing."""
        row, column = self.rows[box], self.columns[box]
        return (row, column) if row and column else None


class Occluded:
    """A network of a module of ``models/`` on ONNX Runtime, run on one image with boxes hidden.

    Parameters
    ----------
    architecture : module
        Has ``steps`` and ``rest``.
    weights : mapping of str to ndarray, float32
    session : callable
        Opens a serialised model on one thread.
    threads : int
        Batches of boxes run side by side, each on one thread.
    """

    def __init__(
        self,
        architecture: Any,
        weights: Mapping[str, NDArray[Any]],
        session: "Callable[[bytes], InferenceSession]",
        threads: int,
    ) -> None:
        self._architecture, self._weights = architecture, weights
        self._session, self._threads = session, threads
        self._steps: list[Step] = architecture.steps(weights)
        self._parts: dict[int, tuple[InferenceSession, int]] = {}
        self._rests: dict[int, InferenceSession] = {}

    def __call__(
        self, image: Floats, boxes: Sequence[Box], fill: Floats
    ) -> Iterator[tuple[NDArray[np.intp], list[Floats]]]:
        """Yield rows of ``boxes`` and what the network gives of each, until all are done.

        Parameters
        ----------
        image : ndarray (3, H, W), float32
        boxes : sequence of (y0, y1, x0, x1)
        fill : ndarray (3,), float32
            What hides, for each channel.

        Yields
        ------
        rows : ndarray (N,), int
        results : list of ndarray (N, D), float32
            Features and, where the network has a last layer, outputs. A box has the same bytes in any batch and on any
            number of threads; which steps run on windows depends on all boxes.
        """
        if not boxes:
            return
        kept, steps = self._keep(image, boxes)
        rest = self._rest(len(steps), len(kept[-1]))
        together = max(1, min(_TOGETHER, _MEMORY // sum(whole.nbytes for whole in kept)))
        copies: SimpleQueue[list[Floats]] = SimpleQueue()
        for _ in range(self._threads):
            copies.put([])

        def run(rows: NDArray[np.intp]) -> tuple[NDArray[np.intp], list[Floats]]:
            mine = copies.get()
            try:
                if not mine:
                    mine.extend(np.repeat(whole[None], together, axis=0) for whole in kept)
                for place, row in enumerate(rows):
                    y0, y1, x0, x1 = boxes[row]
                    mine[0][place, :, y0:y1, x0:x1] = fill[:, None, None]
                for step in steps:
                    _paste(mine, rows, step)
                results = rest.run(None, {"images": mine[-1][: len(rows)]})
                _restore(mine, kept, [boxes[row] for row in rows], rows, steps)
            finally:  # whoever waits for a copy has to get one, or would never end
                copies.put(mine)
            return rows, results

        with ThreadPoolExecutor(self._threads) as pool:
            yield from pool.map(run, _batches(len(boxes), steps, together))

    def _keep(self, image: Floats, boxes: Sequence[Box]) -> tuple[list[Floats], list[_Windows]]:
        """Return the whole image's maps, (C, H, W) each, and the first steps, which are worth running on windows."""
        kept, steps, best, gain, most = [image], [], 0, 0.0, 0.0
        rows, columns = [box[:2] for box in boxes], [box[2:] for box in boxes]
        for number, step in enumerate(self._steps):
            source = len(kept) - 1
            run, products = self._part(number, len(kept[source]))
            found = run(kept[source][None])[0]
            spans = []
            for axis, changed in ((1, rows), (2, columns)):
                lengths = kept[source].shape[axis], found.shape[axis]
                each = {pair: span(*pair, step, *lengths) for pair in set(changed)}
                spans.append([each[pair] for pair in changed])
            sizes = [_sizes(row, column) for row, column in zip(*spans, strict=True)]
            share = sum(height * width for height, width in sizes) / (len(boxes) * kept[source][0].size)
            calls = len(set(sizes)) / len(boxes)
            gain += products * found[0].size * (_WORTH - share) - _CALL * calls - _COPY
            if share > _WORTH:
                break
            before = len(kept[source]) if step.joins else 0
            if step.joins:
                kept[source] = np.concatenate([kept[source], found])
            else:
                kept.append(found)
            steps.append(_Windows(source, len(kept) - 1, slice(before, before + len(found)), run, *spans))
            if gain > most:
                best, most = len(steps), gain
            rows, columns = ([(s.write.start, s.write.stop) if s else (0, 0) for s in axis] for axis in spans)
        if not best:
            return [image], []
        last = steps[best - 1]
        return [*kept[: last.target], kept[last.target][: last.channels.stop]], steps[:best]

    def _part(self, number: int, channels: int) -> tuple[Callable[[Floats], Floats], int]:
        """Return what runs a step, and how many products it makes for each place of its output."""
        if number not in self._parts:
            net = Graph(self._weights, channels)
            model = net.maps(self._steps[number].add(net, "images"))
            self._parts[number] = self._session(model), net.products
        session, products = self._parts[number]
        return lambda maps: session.run(None, {"images": maps})[0], products

    def _rest(self, after: int, channels: int) -> "InferenceSession":
        if after not in self._rests:
            self._rests[after] = self._session(self._architecture.rest(self._weights, after, channels))
        return self._rests[after]


def _batches(count: int, steps: Sequence[_Windows], together: int) -> Iterator[NDArray[np.intp]]:
    """Yield rows of boxes, those whose windows have the same sizes beside each other: these run in one call."""
    rows = sorted(range(count), key=lambda row: [_sizes(step.rows[row], step.columns[row]) for step in steps])
    for start in range(0, count, together):
        yield np.array(rows[start : start + together], dtype=np.intp)


def _paste(copies: list[Floats], rows: NDArray[np.intp], step: _Windows) -> None:
    """Run a step on the windows of some boxes, and write what it gives into their copies."""
    source, target = copies[step.source], copies[step.target]
    upto = step.channels.start or None
    calls = defaultdict(list)
    for place, row in enumerate(rows):
        if spans := step.of(row):
            calls[_sizes(*spans)].append((place, *spans))
    for windows in calls.values():
        made = step.run(np.stack([source[place, :upto, y.read, x.read] for place, y, x in windows]))
        for values, (place, y, x) in zip(made, windows, strict=True):
            target[place, step.channels, y.write, x.write] = values[:, y.inner, x.inner]


def _restore(
    copies: list[Floats], kept: list[Floats], boxes: list[Box], rows: NDArray[np.intp], steps: Sequence[_Windows]
) -> None:
    for place, (y0, y1, x0, x1) in enumerate(boxes):
        copies[0][place, :, y0:y1, x0:x1] = kept[0][:, y0:y1, x0:x1]
    for step in steps:
        for place, row in enumerate(rows):
            if spans := step.of(row):
                window = (step.channels, spans[0].write, spans[1].write)
                copies[step.target][place][window] = kept[step.target][window]


def _sizes(row: Span | None, column: Span | None) -> tuple[int, int]:
    """Return the sides of a window of the input; none where nothing of the output changes."""
    if row is None or column is None:
        return 0, 0
    return row.read.stop - row.read.start, column.read.stop - column.read.start
