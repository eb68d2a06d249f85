"""Vectors become an index, or an index changes: the library behind ``cbir index``."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cbir_cli import registry
from cbir_cli.artifacts import embeddings, files, history, index
from cbir_cli.engines import cpu_threads
from cbir_cli.errors import ArtifactError, UsageError
from cbir_cli.stages import calibrating, growing, leaks, searchers


@dataclass(frozen=True)
class Build:
    """How an index is built, as the options say it; None is what the index has, or the default of its kind."""

    kind: str | None
    recall: float | None
    seed: int | None
    threads: int | None
    settings: tuple[str, ...]
    calibrate: tuple[str, ...] = ()


def write(
    output: str,
    base: files.Artifact,
    added: Sequence[files.Artifact],
    build: Build,
    changes: growing.Changes,
    *,
    allow_leaks: bool,
) -> int:
    """Write an index; return 3 if some ids that were to be removed are not there, else 0.

    Parameters
    ----------
    output : str
    base : Artifact
        An embedding, or an index that is to change.
    added : sequence of Artifact
        Those that ``changes`` names.
    build : Build
    changes : Changes
    allow_leaks : bool

    Raises
    ------
    UsageError
        If a parameter is unknown, or of a build where nothing is built.
    ArtifactError
        If the artifacts do not go together.
    """
    old = index.read(base) if base.kind == index.KIND else None
    anew = build.settings or build.recall is not None or build.seed is not None
    wanted = registry.canonical(build.kind) if build.kind else None
    if old and not changes.compact and (anew or wanted not in (None, old.kind)):
        raise UsageError("--kind, --recall, --seed and --set belong to a new build: give --compact too")
    opened = [base, *added]
    stored = [embeddings.read(artifact) for artifact in opened]
    for part in stored:
        check(part)
    kind = wanted or (old.kind if old else "exact")
    backend = searchers.kind_of(old) if old and kind == old.kind else registry.load("index", kind)
    parameters, how = _parameters(backend, kind, stored[0], build, old)
    catalogue, kept, absent, done = stored[0], None, 0, {}
    if changes:
        ids = growing.read_ids(changes.remove) if changes.remove is not None else []
        absent = growing.missing(catalogue, ids, changes.remove or "")
        grown = growing.grow(catalogue, stored[1:], ids)
        catalogue, done = grown.embedding, grown.counts
    if old and not changes.compact:
        with files.reading(base.name):  # what is damaged is not handed on
            searchers.searcher(old)
            getattr(backend, "measured", dict)(old.payload)
        kept = growing.payload(old, grown) if changes else old.payload
    labels = build.calibrate or tuple(old.calibration.labels if old and old.calibration else ())
    if build.calibrate:
        calibrating.check(catalogue, labels)
    leaks.of_catalogue(catalogue.items, catalogue.space.model_name, allow=allow_leaks)
    roles = ["index" if old else "embedding", *(f"added-{number}" for number in range(1, len(opened)))]
    calibrated = {"calibrate": list(labels)} if labels else {}
    entry = history.entry(
        "index",
        {"kind": kind, **parameters, **done, **({"compact": True} if changes.compact else {}), **calibrated},
        inputs={role: artifact.fingerprint for role, artifact in zip(roles, opened, strict=True)},
    )
    index.write(
        output,
        catalogue,
        kind,
        parameters,
        lambda vectors: backend.build(vectors, **parameters, **how) if kept is None else kept,
        history=history.join(*(artifact.history for artifact in opened), [entry]),
        measured=getattr(backend, "measured", None),
        changes=base if old else None,
        calibrate=(lambda made: calibrating.calibrate(made, labels, again=not build.calibrate)) if labels else None,
    )
    return 3 if absent else 0


def check(stored: embeddings.Embedding) -> None:
    """Refuse an embedding that is no catalogue.

    Raises
    ------
    ArtifactError
        If it was fed as queries are.
    """
    if stored.space.compat != "none":
        raise ArtifactError(
            f"{stored.name}: embedded with compat={stored.space.compat}, which is for queries; "
            "a catalogue is embedded without it"
        )


def _parameters(
    backend: Any, kind: str, stored: embeddings.Embedding, build: Build, old: index.Index | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the parameters that are recorded, and those that the result does not depend on."""
    similarity = stored.space.similarity
    if similarity not in backend.METRICS:
        raise UsageError(
            f"{stored.name}: its images are compared by {similarity}, which --kind {kind} cannot; use --kind exact"
        )
    known = registry.parameters(backend.build)
    named = {"recall": build.recall, "seed": build.seed, "threads": build.threads}
    given = {name: value for name, value in named.items() if value is not None}
    for name in given:
        if name not in known:
            raise UsageError(f"--{name} does not go with --kind {kind}, which has no such parameter")
    how = {"threads": build.threads or cpu_threads()} if "threads" in known else {}
    known = {name: value for name, value in known.items() if name != "threads"}
    given.pop("threads", None)
    before = old.parameters if old and kind == old.kind else {}
    settings = registry.settings(build.settings, known, f"index kind {kind}")
    return {"metric": similarity, **known, **before, **given, **settings}, how
