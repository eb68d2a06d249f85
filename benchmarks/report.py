"""What a page costs: its size, the time until it is drawn in headless Chromium, and the memory that it takes.

    python benchmarks/report.py                             200 queries, 5 results, 3 methods, 224 pixels
    python benchmarks/report.py --queries 20 --size 64      in seconds
    python benchmarks/report.py --hounsfield                CT, with the windows

Images are smooth with a little noise, so that they have about the bytes of radiographs; each method finds its own
results in a catalogue of five times as many images as there are queries, and has a map on each result and one on the
query. Needs chromium and chromedriver on the path, and selenium.

open
    Until the load event, from the start of the navigation.
paint
    First contentful paint, on the same clock.
ready
    Until the pictures of the first query are decoded and a frame with them was drawn.
next
    The same from a key press to the next query, the median over 20 queries.
memory
    Resident memory of the renderer process after that, and its JavaScript heap.
"""

import argparse
import base64
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from cbir_cli.artifacts import explanation
from cbir_cli.artifacts.explanation import Explanation
from cbir_cli.artifacts.history import entry
from cbir_cli.artifacts.items import TEXT, Items
from cbir_cli.records import MISSING
from cbir_cli.stages import report

METHODS = ("ssim", "cnn", "ig")
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--enable-precise-memory-info")

FRAME = """
const done = arguments[0];
const used = new Set([...document.querySelectorAll('.case:not([hidden]) use')].map((u) => u.getAttribute('href')));
const decoded = [...used].map((name) => {
  const image = new Image();
  image.src = document.querySelector(name).getAttribute('href');
  return image.decode();
});
Promise.all(decoded).then(() => requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now()))));
"""
NEXT = """
const done = arguments[0], start = performance.now();
document.getElementById('next').click();
requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - start)));
"""


def table(ids):
    """Items of two classes."""
    columns = {name: np.array([""] * len(ids), np.str_) for name in TEXT}
    columns["age"] = np.full(len(ids), MISSING, np.int16)
    columns["label:Effusion"] = (np.arange(len(ids)) % 2).astype(np.int8)
    return Items(np.array(ids), columns, "")


def radiographs(count, size, seed):
    """Smooth images with a little noise (count, size, size) uint8."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size
    waves = (np.sin(rng.uniform(3, 8) * x + i) * np.cos(rng.uniform(3, 8) * y) for i in range(count))
    grey = (90 + 60 * wave + rng.normal(0, 2, wave.shape) for wave in waves)
    return np.stack([np.clip(one, 0, 255).astype(np.uint8) for one in grey])


def saliency(count, size, seed):
    """Noise below a smooth envelope (count, size, size) float16: as hard to compress as maps are."""
    rng = np.random.default_rng(seed)
    x = np.mgrid[:size, :size][1] / size
    return np.stack([(rng.random(x.shape) ** 2 * (0.5 + 0.5 * np.sin(9 * x + i))) for i in range(count)]).astype(
        np.float16
    )


def made(method, seed, args, queries, catalogue):
    """One artifact: ``k`` results for each query, a map on each and one on the query."""
    rng = np.random.default_rng(seed)
    found = np.array([rng.choice(len(catalogue), args.k, replace=False) for _ in range(args.queries)])
    used, result = np.unique(found, return_inverse=True)
    count = args.queries * args.k
    pairs, first = np.arange(count), np.arange(0, count, args.k)
    return Explanation(
        query_images=queries,
        queries=table([f"query{i:04d}" for i in range(args.queries)]),
        result_images=catalogue[used],
        results=table([f"image{i:05d}" for i in used]),
        query=(pairs // args.k).astype(np.int32),
        result=result.reshape(-1).astype(np.int32),
        rank=(pairs % args.k + 1).astype(np.int32),
        distance=(pairs % args.k + 1).astype(np.float32),
        seed=np.full(count, -1, np.int32),
        set=np.full(count, -1, np.int32),
        maps=saliency(count + args.queries, args.size, seed),
        scale=np.ones(count + args.queries, np.float32),
        map_pair=np.concatenate([pairs, first]).astype(np.int32),
        map_on=np.concatenate([np.ones(count), np.zeros(args.queries)]).astype(np.int8),
        method="occlusion",
        parameters={},
        encoder=method,
        similarity="l2",
        targets=["Effusion"],
        index=str(seed) * 64,
    )


def page(folder, args):
    """Write artifacts and return the path of their page."""
    queries = radiographs(args.queries, args.size, 0)
    catalogue = radiographs(5 * args.queries, args.size, 1)
    names = []
    for seed, method in enumerate(METHODS[: args.methods], 1):
        names.append(str(folder / f"{method}.h5"))
        explanation.write(names[-1], made(method, seed, args, queries, catalogue), history=[entry("explain", {})])
    none = dict.fromkeys(("raters", "rater", "label", "title", "root", "images"))
    start = time.perf_counter()
    text = report.report_of(names, k=6, **none).html
    path = folder / "page.html"
    path.write_text(text, encoding="utf-8")
    print(f"made in {time.perf_counter() - start:.1f} s, {path.stat().st_size / 1e6:.1f} MB")
    return path


def resident(profile):
    """Largest resident memory in MB of the renderers that use a profile."""
    sizes = [0.0]
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            command = (status.parent / "cmdline").read_text()
            if "--type=renderer" in command and str(profile) in command:
                line = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
                sizes.append(int(line.split()[1]) / 1024)
        except OSError:  # it has ended
            continue
    return max(sizes)


def browse(path, folder):
    """Open the page once and print what it costs."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    for flag in (*FLAGS, f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    try:
        driver.set_window_size(1366, 768)
        driver.set_script_timeout(120)
        driver.get(path.as_uri())
        ready = driver.execute_async_script(FRAME)
        loaded = driver.execute_script("return performance.getEntriesByType('navigation')[0].loadEventEnd")
        paint = driver.execute_script("return performance.getEntriesByName('first-contentful-paint')[0].startTime")
        steps = [driver.execute_async_script(NEXT) for _ in range(20)]
        heap = driver.execute_script("return performance.memory.usedJSHeapSize / 2 ** 20")
        largest = resident(folder / "profile")
        elements = driver.execute_script("return document.querySelectorAll('*').length")
        print(f"open {loaded / 1e3:.2f} s, paint {paint / 1e3:.2f} s, ready {ready / 1e3:.2f} s (with the driver)")
        print(
            f"next {statistics.median(steps):.0f} ms, memory {largest:.0f} MB, heap {heap:.0f} MB, {elements} elements"
        )
        (folder / "shot.png").write_bytes(base64.b64decode(driver.get_screenshot_as_base64()))
    finally:
        driver.quit()


def main():
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("queries", 200), ("k", 5), ("methods", 3), ("size", 224), ("runs", 3)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--keep", type=Path, help="folder that keeps the page")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.keep or Path(temporary)
        folder.mkdir(exist_ok=True, parents=True)
        path = page(folder, args)
        for _ in range(args.runs):
            browse(path, folder)


if __name__ == "__main__":
    main()
