"""Vectors like those of networks: clusters of very unequal size near few directions, and artifacts made of them."""

from pathlib import Path

import numpy as np

from cbir_cli.artifacts import embeddings, items

WIDTH, LATENT, CLUSTERS = 1024, 64, 500


def clustered(count: int, *, clusters: int = CLUSTERS, seed: int = 1) -> np.ndarray:
    """Return unit vectors (count, 1024) float32.

    Cluster sizes follow Zipf's law; a cluster is a Gaussian in 64 dimensions that overlaps with others, mapped to 1024
    by a random matrix, with noise. Without clusters: one Gaussian, a continuum.
    """
    rng = np.random.default_rng(seed)
    share = 1 / np.arange(1, max(clusters, 1) + 1)
    centres = rng.standard_normal((max(clusters, 1), LATENT), dtype=np.float32) * (clusters > 0)
    lift = rng.standard_normal((LATENT, WIDTH), dtype=np.float32) / 8
    vectors = np.empty((count, WIDTH), np.float32)
    for start in range(0, count, 10_000):
        part = vectors[start : start + 10_000]
        which = rng.choice(len(centres), len(part), p=share / share.sum())
        part[:] = (centres[which] + 0.5 * rng.standard_normal((len(part), LATENT), dtype=np.float32)) @ lift
        part += 0.05 * rng.standard_normal(part.shape, dtype=np.float32)
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return vectors


def write(path: Path, vectors: np.ndarray, first: int = 0) -> None:
    """Write an embedding artifact: six images a patient, two views, two labels."""
    numbers = np.arange(first, first + len(vectors))
    patients = numbers // 6
    columns = {name: np.full(len(numbers), "") for name in items.TEXT} | {
        "path": np.array([f"{n % 4096:03x}/{n:08x}.jpg" for n in numbers]),
        "patient": np.array([f"{n * 40503 % 2**32:08x}{n:08x}" for n in patients]),
        "study": np.array([f"{n * 69069 % 2**32:08x}{n:08x}" for n in numbers // 2]),
        "view": np.array(["PA", "AP"])[numbers % 2],
        "sex": np.array(["F", "M"])[patients % 2],
        "content": np.array([f"{n * 11400714819323198485 % 2**64:016x}" for n in numbers.tolist()]),
        "age": (20 + patients % 70).astype(np.int16),
        "part": np.full(len(numbers), -1, np.int32),
        "label:Effusion": (patients % 3 == 0).astype(np.int8),
        "label:Pneumonia": (patients % 7 == 0).astype(np.int8),
    }
    ids = np.array([f"{n * 2654435761 % 2**32:08x}{n:08x}" for n in numbers.tolist()])
    space = embeddings.Space("cosine", "f" * 64, "cnn", targets=["Effusion", "Pneumonia"], model_name="model.h5")
    embeddings.write(str(path), vectors, items.Items(ids, columns, "kept"), space, history=[])
