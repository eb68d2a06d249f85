"""What an artifact is and holds, in facts and in words: the library behind ``cbir info``."""

import json
from typing import Any

import numpy as np

from cbir_cli.artifacts import embeddings, explanation, files, history, index, saliency
from cbir_cli.artifacts import model as models
from cbir_cli.artifacts.items import Items
from cbir_cli.records import MISSING
from cbir_cli.stages import benchmark_index, index_facts

_HUBNESS = 25.0
"""Times the work of a plain description that a benchmark spends on hubness: a sample of up to 10,000 vectors."""


def facts(name: str, *, benchmark: bool = False) -> dict[str, Any]:
    """Return what is in an artifact as JSON values; how fast an index is, too, where that is asked for."""
    with files.open_artifact(name) as artifact:
        measured = benchmark_index.benchmark(artifact) if benchmark else {}
        known: dict[str, Any] = {
            "file": history.public_path(artifact.name),
            "format": artifact.kind,
            "format-version": int(artifact.file.attrs["format-version"]),
            "generated-by": artifact.text("generated-by"),
            "fingerprint": artifact.fingerprint,
        }
        if artifact.text("shard"):
            known["shard"] = artifact.text("shard")
        if artifact.rows is not None:
            known["shards"] = [shard.name for shard in artifact.rows.shards]
        with files.reading(artifact.name):
            known |= _READERS[artifact.kind](artifact)
        if benchmark:
            known["benchmark"] = measured
            if larger := index_facts.hubness_of(index.read(artifact), work=_HUBNESS):
                known["hubness"] = larger
        known["history"] = artifact.history
        return known


def text(known: dict[str, Any]) -> str:
    """Return facts as lines for a person; the history shortened to one line a stage."""
    lines = [f"{known['file']}: {known['format']}"]
    for key, value in {**known, **known.get("benchmark", {})}.items():
        if key in ("file", "format", "history", "benchmark"):
            continue
        lines.append(f"  {key + ':':<16} {_shown(key, value)}")
    for entry in known["history"]:
        inputs = ", ".join(f"{role} {mark[:12]}" for role, mark in entry["inputs"].items())
        seed = f", seed {entry['seed']}" if "seed" in entry else ""
        lines.append(f"  made by:         cbir {entry['command']}{f' from {inputs}' if inputs else ''}{seed}")
    return "\n".join(lines)


def _shown(key: str, value: Any) -> str:
    if isinstance(value, dict):
        many = key in ("bytes", "query-memory", "process")
        return ", ".join(f"{k} {v:,}" if many and isinstance(v, int) else f"{k} {v}" for k, v in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _model(artifact: files.Artifact) -> dict[str, Any]:
    group = artifact.file
    sets, counts = np.unique(group["split/set"][()].astype("U"), return_counts=True)
    guided = "saliency_model" in group
    known = {
        "architecture": artifact.text("architecture"),
        "task": json.loads(group.attrs["task"])["name"],
        "objective": artifact.text("objective"),
        "outputs": json.loads(group.attrs["outputs"]),
        "features": f"{artifact.text('feature-layer')}, {int(group.attrs['feature-width'])} wide",
        "input": json.loads(group.attrs["input"]),
        "parameters": int(sum(group["weights"][key].size for key in group["weights"])),
        "epochs": len(json.loads(group.attrs["epochs"])),
        "scores": json.loads(group.attrs["scores"]),
        "patients": {str(name): int(count) for name, count in zip(sets, counts, strict=True)},
    }
    if guided:
        stage = group["saliency_model"]
        known["saliency"] = {
            "method": str(stage.attrs["method"]),
            "input": str(stage.attrs["map-input"]),
            **json.loads(stage.attrs["parameters"]),
        }
    return known


def _saliency(artifact: files.Artifact) -> dict[str, Any]:
    maps = saliency.read(artifact)
    return {
        "maps": len(maps.maps),
        "size": maps.maps.shape[-1],
        "input": maps.input,
        "method": {"name": maps.method, **maps.parameters},
        "target": maps.target,
        "flat-maps": maps.flat,
        "model": maps.model,
        "source": maps.source,
        "reader": maps.reader,
        **_items(maps.items),
        "unreadable": len(maps.unreadable),
    }


def _embedding(artifact: files.Artifact) -> dict[str, Any]:
    stored = embeddings.read(artifact)
    return {
        "vectors": len(stored.vectors),
        "width": stored.vectors.shape[1],
        "encoder": stored.space.encoder,
        "similarity": stored.space.similarity,
        "space": stored.space.fingerprint,
        "model": stored.space.model_name,
        "targets": stored.space.targets,
        "logits": 0 if stored.logits is None else stored.logits.shape[1],
        "source": stored.space.source,
        "reader": stored.space.reader,
        **({"compat": stored.space.compat} if stored.space.compat != "none" else {}),
        **_items(stored.items),
        "unreadable": len(stored.unreadable),
    }


def _index(artifact: files.Artifact) -> dict[str, Any]:
    return {**index_facts.facts(artifact, index.read(artifact)), **_embedding(artifact)}


def _explanation(artifact: files.Artifact) -> dict[str, Any]:
    made = explanation.read(artifact)
    return {
        "queries": len(made.query_images),
        "results": len(made.result_images),
        "pairs": len(made.query),
        "maps": len(made.maps),
        **_measured(made),
        "method": {"name": made.method, **made.parameters},
        "encoder": made.encoder,
        "similarity": made.similarity,
        "targets": made.targets,
    }


def _measured(made: explanation.Explanation) -> dict[str, Any]:
    """Return what an explanation holds beside the maps of importance, where it does."""
    known: dict[str, Any] = {}
    if sure := int((made.map_what == explanation.UNCERTAINTY).sum()):
        known["uncertainty"] = f"{sure} of the maps"
    if made.measures:
        baselines = {"": made.measures, " of a random map": made.measures.random_map}
        baselines[" of a random model"] = made.measures.random_model
        known["measures"] = [
            f"{curve}{whose}"
            for whose, curves in baselines.items()
            for curve in ("insertion", "deletion")
            if getattr(curves, curve) is not None
        ]
        known["measured-with"] = made.measures.parameters
    if made.randomisation:
        ways = [way for way in ("cascade", "independent") if getattr(made.randomisation, way) is not None]
        known["randomisation"] = {way: f"{len(made.randomisation.layers)} layers" for way in ways}
    if made.classes:
        counts = made.classes.count.tolist()
        known["classes"] = {name: f"{n} images" for name, n in zip(made.classes.names, counts, strict=True)}
    return known


def _items(table: Items) -> dict[str, Any]:
    def named(column: str) -> dict[str, int]:
        values, counts = np.unique(table[column], return_counts=True)
        return {str(v) or "unknown": int(c) for v, c in zip(values, counts, strict=True)}

    labels = {}
    for name in table.label_names:
        codes = table.label(name)
        labels[name] = f"{int((codes == 1).sum())} of {int((codes != MISSING).sum())}"
    return {
        "patients": len(set(table["patient"].tolist()) - {""}),
        "views": named("view"),
        "seen": named("seen"),
        "labels": labels,
    }


_READERS = {
    models.KIND: _model,
    saliency.KIND: _saliency,
    embeddings.KIND: _embedding,
    index.KIND: _index,
    explanation.KIND: _explanation,
}
