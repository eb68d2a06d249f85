"""Images a second of the decode path against a plain Pillow loop, as a ratio measured in one run.

    python benchmarks/decode.py                    synthetic small and large JPEG and 16-bit PNG
    python benchmarks/decode.py SOURCE [COUNT]     the first COUNT images of any source

Both sides end with float32 in [0, 1] at 224 x 224. Rounds alternate, so that a busy machine slows both; the ratio is
the median over the rounds. The plain loop has one thread and no read-ahead, which is what most scripts do.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from cbir_cli.data import read_source
from cbir_cli.images import InputSpec, stream
from cbir_cli.records import Record

SIZE = 224
ROUNDS = 5


def plain(records: list[Record]) -> None:
    for record in records:
        image = Image.open(record.path)
        if image.mode.startswith("I;16"):
            image = Image.fromarray(np.asarray(image).astype(np.float32) / 65535)
            np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BILINEAR))
        else:
            np.asarray(image.convert("L").resize((SIZE, SIZE), Image.Resampling.BILINEAR), np.float32) / 255


def ours(records: list[Record], workers: int) -> None:
    for _ in stream(records, InputSpec(SIZE).load, workers=workers, batch=16):
        pass


def seconds(work, *arguments) -> float:
    start = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - start


def compare(name: str, records: list[Record]) -> None:
    cores = len(os.sched_getaffinity(0))
    ours(records[:2], 1), plain(records[:2])
    for workers in sorted({0, 1, cores}):
        pairs = [(seconds(plain, records), seconds(ours, records, workers)) for _ in range(ROUNDS)]
        reference, own = np.median(pairs, axis=0)
        ratio = np.median([a / b for a, b in pairs])
        rates = f"plain {len(records) / reference:8.1f}/s  cbir {len(records) / own:8.1f}/s"
        print(f"{name:<24} workers {workers}  {rates}  ratio {ratio:5.2f}", flush=True)


def synthetic(folder: Path, ending: str, shape: tuple[int, int], count: int) -> list[Record]:
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.random((24, 20), dtype=np.float32)).resize(shape[::-1], Image.Resampling.BICUBIC)
    values = np.clip(np.asarray(coarse) + rng.normal(0, 0.02, shape), 0, 1)
    pixels = (values * 65535).astype(np.uint16) if ending == "png" else (values * 255).astype(np.uint8)
    for number in range(count):
        Image.fromarray(pixels).save(folder / f"{number}.{ending}")
    return read_source(str(folder)).records


def main() -> None:
    if len(sys.argv) > 1:
        records = read_source(sys.argv[1]).records[: int(sys.argv[2]) if len(sys.argv) > 2 else 500]
        compare(f"{len(records)} of {Path(sys.argv[1]).name}", records)
        return
    for ending, shape, count in (("jpg", (390, 320), 200), ("jpg", (3000, 2500), 8), ("png", (3000, 2500), 4)):
        with tempfile.TemporaryDirectory() as folder:
            compare(f"{count} {ending} {shape[1]}x{shape[0]}", synthetic(Path(folder), ending, shape, count))


if __name__ == "__main__":
    main()
