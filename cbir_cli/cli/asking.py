"""What ``query`` and ``explain`` share: turning QUERY into vectors of the index's space."""

import logging
import math
import os
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from cbir_cli.artifacts import embeddings, files
from cbir_cli.artifacts import index as indexes
from cbir_cli.artifacts.index import Index
from cbir_cli.cli import options, sources
from cbir_cli.errors import ArtifactError, SourceError, UsageError
from cbir_cli.stages import asked
from cbir_cli.stages.diversity import Diversity
from cbir_cli.stages.guards import Filters
from cbir_cli.stages.query import Queries, Wanted

if TYPE_CHECKING:
    from cbir_cli.data import Source
    from cbir_cli.records import Record
    from cbir_cli.splits import SplitRow
    from cbir_cli.stages.encoding import Encoder, Settings

log = logging.getLogger("cbir")


@dataclass(frozen=True)
class Asking:
    """The options of a command that asks."""

    model: str | None
    device: str
    threads: int | None
    patient: str | None
    frame: int | None
    keep_ids: bool
    null: bool
    on_error: str
    only: str | None = None

    @property
    def settings(self) -> "Settings":
        """Where networks run."""
        from cbir_cli.stages.encoding import Settings

        return Settings("auto", self.device, self.threads)


class Asked:
    """QUERY while it is open: an embedding artifact, or images that are embedded now."""

    def __init__(self, query: str) -> None:
        self.query = query
        self.records: list[Record] = []
        self.encoder: Encoder | None = None
        self._sources: dict[bool, Source] = {}
        self._stack = ExitStack()

    def __enter__(self) -> "Asked":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def queries(self, index: Index, index_path: str, ask: Asking) -> tuple[Queries, dict[str, str]]:
        """Return the queries, and why each image that could not be read is not among them.

        Parameters
        ----------
        index : Index
        index_path : str
            As typed.
        ask : Asking
        """
        if sources.is_hdf5(self.query):
            return _only(self._stored(self.query, index), ask.only), {}
        self.encoder = asked.find_encoder(ask.model, index, index_path, ask.settings)
        found, unreadable = self._embed(self.encoder, index, ask)
        return _only(found, ask.only), unreadable

    def again(self, index: Index, index_path: str, ask: Asking, embedding: str = "") -> Queries:
        """Return the same queries in the space of another index.

        Parameters
        ----------
        index : Index
        index_path : str
            As typed.
        ask : Asking
            Its model is that of the first index: this one's has to lie beside it, or in the working folder.
        embedding : str
            An embedding of the queries, where QUERY is that of another model.

        Raises
        ------
        ArtifactError
            If the queries or the model are of another space.
        """
        if embedding:
            return self._stored(embedding, index)
        if not sources.is_hdf5(self.query):
            encoder = asked.find_encoder(None, index, index_path, ask.settings, environment=False)
            return self._embed(encoder, index, ask)[0]
        try:
            return self._stored(self.query, index)
        except ArtifactError as error:
            raise ArtifactError(f"{error}; give its own queries: --with {index_path}=EMB") from None

    def _stored(self, path: str, index: Index) -> Queries:
        artifact = self._stack.enter_context(files.open_artifact(path, embeddings.KIND, indexes.KIND))
        return asked.from_embedding(embeddings.read(artifact), index)

    def _embed(self, encoder: "Encoder", index: Index, ask: Asking) -> tuple[Queries, dict[str, str]]:
        from cbir_cli.artifacts import pseudonyms
        from cbir_cli.stages import embed as embedding
        from cbir_cli.stages import streaming

        keep = ask.keep_ids or index.embedding.items.pseudonyms == "kept"
        hide = pseudonyms.from_environment(keep=keep)
        if keep not in self._sources:
            self._sources[keep] = sources.read_images(
                self.query, patient=ask.patient, frame=ask.frame, null=ask.null, hide=hide
            )
        source = self._sources[keep]
        self.records = source.records
        job = streaming.Job(
            files.STDIO, {}, 16, options.cores(None), fail=ask.on_error == "fail", description="queries"
        )
        done = self._stack.enter_context(
            streaming.extract(source.records, encoder.input.load, encoder.rows, encoder.fields, job)
        )
        table = embedding.table_of(done, hide, None)
        return Queries(np.asarray(done.rows["X"]), table, source.stored(hide)), done.unreadable


def _only(queries: Queries, where: str | None) -> Queries:
    """Return the queries that an expression holds for."""
    if where is None:
        return queries
    try:
        rows = Filters(where).rows(queries.items)
    except UsageError as error:
        raise UsageError(str(error).replace("--where", "--ask", 1)) from None
    if rows is None or not len(rows):
        raise SourceError(f"--ask {where}: holds for none of the {queries.items.count} query images")
    log.info("--ask: %d of %d images", len(rows), queries.items.count)
    return queries.take(rows)


def rows_asked(table: "list[SplitRow] | None", queries: Queries, ask: str | None) -> "list[SplitRow] | None":
    """Return a split table without the sets of queries that ``--ask`` left out."""
    if table is None or ask is None:
        return table
    ids = set(queries.items.ids.tolist())
    sets = {(row.seed, row.set) for row in table if row.role == "query" and row.id in ids}
    return [row for row in table if (row.seed, row.set) in sets and (row.role != "query" or row.id in ids)]


def check_one_stdin(*names: str) -> None:
    """Refuse standard input for two inputs at once."""
    if sum(name == files.STDIO for name in names) > 1:
        raise UsageError("- is standard input: it can stand for one input only")


def check_conflicts(*pairs: tuple[str, bool, str, bool]) -> None:
    """Refuse two options that do not go together, each with whether it was given."""
    for first, has_first, second, has_second in pairs:
        if has_first and has_second:
            raise UsageError(f"{first} does not go with {second}")


def index_and_queries(text: str) -> tuple[str, str]:
    """Split ``IDX=EMB``; a file may have an equals sign in its name."""
    if os.path.exists(text):
        return text, ""
    index, _, embedding = text.partition("=")
    return index, embedding


def wanted(
    where: str | None,
    exclude: options.ExcludedSame | None,
    only: options.SameOnly | None,
    max_distance: float | None,
    diverse: float | None,
    *,
    pool: int = Diversity.pool,
    by_position: bool = False,
    fused: bool = False,
) -> Wanted:
    """Return what the options say that results are to be.

    Raises
    ------
    UsageError
        If the distance or the pool is none.
    """
    if max_distance is not None and not math.isfinite(max_distance):
        raise UsageError(f"--max-distance {max_distance}: expected a finite number")
    if max_distance is not None and max_distance < 0 and not fused:
        raise UsageError(f"--max-distance {max_distance}: expected at least 0; no distance is smaller")
    if pool < 1:
        raise UsageError(f"pool={pool}: expected at least 1")
    return Wanted(
        Filters(where, exclude and exclude.value, only and only.value),
        max_distance,
        None if diverse is None else Diversity(diverse, pool),
        by_position,
    )


def write_lines(lines: Iterable[str]) -> None:
    """Write text to standard output as it comes."""
    sys.stdout.writelines(lines)
