"""How hard the synthetic chest set is: for shortcuts, for SSIM, for a small network, and for one that knows the truth.

Run ``python benchmarks/phantom_difficulty.py [--seeds 1,2,3] [-n 500] [--size 64] [--skip-network]``. It prints one row
a seed, and exits with 1 if a figure is out of its bounds. A set is worth retrieving in when brightness tells nothing,
SSIM tells a little, and a network has to learn.
"""

import argparse
import csv
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cbir_cli import phantom

Array = NDArray[np.float64]

COLUMNS = ["positive", "images/s", "per_core", "shortcut", "ssim_p@5", "ssim_r-prec", "chance"]
COLUMNS += ["oracle", "area_rho", "net_auroc", "net_rho", "net_s"]

BOUNDS = {
    "positive": (0.34, 0.46),
    "shortcut": (0.0, 0.65),
    "ssim_p@5": (0.53, 0.8),
    "oracle": (0.999, 1.0),
    "area_rho": (0.8, 1.0),
    "net_auroc": (0.85, 0.97),
}


def read(directory: Path, size: int | None = None) -> tuple[Array, list[dict[str, str]]]:
    """Return the images (N, S, S) in [0, 1], and the rows of both tables joined."""
    from PIL import Image

    with (directory / "severity.csv").open() as file:
        rows = list(csv.DictReader(file))
    images = []
    for row in rows:
        with Image.open(directory / "images" / row["Image Index"]) as image:
            small = image if size is None else image.convert("F").resize((size, size), Image.Resampling.BILINEAR)
            images.append(np.asarray(small, float) / 255)
    return np.stack(images), rows


def patients(rows: list[dict[str, str]]) -> NDArray[np.int64]:
    """Return the patient of each row (N,)."""
    return np.array([int(r["Image Index"][:8]) for r in rows])


def positives(rows: list[dict[str, str]]) -> NDArray[np.int64]:
    """Return 1 where there is an effusion (N,)."""
    return np.array([float(r["severity"]) > 0 for r in rows], int)


def shortcut_auroc(images: Array, labels: NDArray[np.int64], groups: NDArray[np.int64], bins: int = 16) -> float:
    """Return the AUROC of logistic regression on mean and histogram, out of fold, five folds of whole patients."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import GroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    histogram = np.stack([np.histogram(i, bins, (0, 1))[0] / i.size for i in images])
    features = np.column_stack([images.mean(axis=(1, 2)), histogram])
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    folds = GroupKFold(5)
    score = cross_val_predict(model, features, labels, groups=groups, cv=folds, method="predict_proba")[:, 1]
    return float(roc_auc_score(labels, score))


def ssim_precision(
    images: Array, labels: NDArray[np.int64], groups: NDArray[np.int64], k: int = 5
) -> tuple[float, float, float]:
    """Return precision@k and R-precision of SSIM search without the query's patient, and the chance of either."""
    from scipy.ndimage import uniform_filter

    def blur(stack: Array) -> Array:
        return uniform_filter(stack, (0, 7, 7))[:, 3:-3, 3:-3]

    mean, square = blur(images), blur(images**2)
    variance = square - mean**2
    at_k, at_r, chance = [], [], []
    for q in range(len(images)):
        covariance = blur(images[q] * images) - mean[q] * mean
        similarity = (2 * mean[q] * mean + 1e-4) * (2 * covariance + 9e-4)
        similarity /= (mean[q] ** 2 + mean**2 + 1e-4) * (variance[q] + variance + 9e-4)
        others = np.flatnonzero(groups != groups[q])
        order = others[np.argsort(-similarity.mean(axis=(1, 2))[others], kind="stable")]
        hits = labels[order] == labels[q]
        at_k.append(hits[:k].mean())
        at_r.append(hits[: hits.sum()].mean())
        chance.append(hits.mean())
    return float(np.mean(at_k)), float(np.mean(at_r)), float(np.mean(chance))


def oracle(rows: list[dict[str, str]]) -> tuple[float, float]:
    """Return the AUROC of the mask's area, and its rank correlation with severity among the positives."""
    from scipy.stats import spearmanr
    from sklearn.metrics import roc_auc_score

    area = np.array([int(r["mask_right"]) + int(r["mask_left"]) for r in rows])
    severity = np.array([float(r["severity_right"]) + float(r["severity_left"]) for r in rows])
    sick = positives(rows) == 1
    return float(roc_auc_score(sick, area)), float(spearmanr(severity[sick], area[sick]).statistic)


def network_auroc(images: Array, rows: list[dict[str, str]], seed: int, epochs: int) -> tuple[float, float, float]:
    """Return a small DenseNet's AUROC on a third of the patients, its rank correlation with severity, and seconds."""
    import torch
    from scipy.stats import spearmanr
    from sklearn.metrics import roc_auc_score
    from torchvision.models import DenseNet

    torch.manual_seed(seed)
    start = time.perf_counter()
    labels, groups = positives(rows), patients(rows)
    held = np.isin(groups, np.random.default_rng(seed).permutation(np.unique(groups))[::3])
    x = torch.from_numpy(((images - 0.45) / 0.225)[:, None]).float().expand(-1, 3, -1, -1)
    y = torch.from_numpy(labels).float()
    net = DenseNet(growth_rate=12, block_config=(3, 6, 6, 4), num_init_features=24, num_classes=1)
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-3, weight_decay=1e-4)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, epochs * -(-int((~held).sum()) // 16))
    loss = torch.nn.BCEWithLogitsLoss()
    train = torch.from_numpy(np.flatnonzero(~held))
    for _ in range(epochs):
        net.train()
        for batch in train[torch.randperm(len(train))].split(16):
            views = _move(x[batch])
            optimiser.zero_grad()
            loss(net(views)[:, 0], y[batch]).backward()
            optimiser.step()
            rate.step()
    net.eval()
    with torch.no_grad():
        score = torch.cat([net(part)[:, 0] for part in x[torch.from_numpy(held)].split(64)]).numpy()
    severity = np.array([float(r["severity"]) for r in rows])[held]
    tau = spearmanr(score[severity > 0], severity[severity > 0]).statistic
    return float(roc_auc_score(labels[held], score)), float(tau), time.perf_counter() - start


def _move(images):
    """Return the images (B, 3, S, S) shifted and turned a little, each by its own amount."""
    import torch

    turn = (torch.rand(len(images)) - 0.5) * 0.14
    shift = (torch.rand(len(images), 2) - 0.5) * 0.12
    top = torch.stack([turn.cos(), -turn.sin(), shift[:, 0]], dim=1)
    bottom = torch.stack([turn.sin(), turn.cos(), shift[:, 1]], dim=1)
    grid = torch.nn.functional.affine_grid(torch.stack([top, bottom], dim=1), list(images.shape), align_corners=False)
    return torch.nn.functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("-n", type=int, default=500)
    parser.add_argument("--size", type=int, default=64, help="side at which SSIM and the network see the images")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--skip-network", action="store_true")
    options = parser.parse_args()
    print("\t".join(["seed", *COLUMNS]))
    broken = []
    for seed in (int(s) for s in options.seeds.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            directory = Path(folder) / "set"
            start, cpu = time.perf_counter(), time.process_time()
            phantom.write(directory, n=options.n, seed=seed)
            speed = [options.n / (time.perf_counter() - start), options.n / (time.process_time() - cpu)]
            images, rows = read(directory)
            small, _ = read(directory, options.size)
        labels, groups = positives(rows), patients(rows)
        row = [labels.mean(), *speed, shortcut_auroc(images, labels, groups)]
        row += [*ssim_precision(small, labels, groups), *oracle(rows)]
        if not options.skip_network:
            row += network_auroc(small, rows, seed, options.epochs)
        print(seed, *(f"{v:.3f}" for v in row), sep="\t", flush=True)
        for name, value in zip(COLUMNS, row, strict=False):
            low, high = BOUNDS.get(name, (-np.inf, np.inf))
            if not low <= value <= high:
                broken.append(f"seed {seed}: {name} is {value:.3f}, expected {low} to {high}")
    print(*broken, sep="\n", end="\n" if broken else "", file=sys.stderr)
    sys.exit(bool(broken))


if __name__ == "__main__":
    main()
