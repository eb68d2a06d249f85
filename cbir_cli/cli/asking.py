"""What ``query`` and ``explain`` share: turning QUERY into vectors of the index's space."""

import sys
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType

import numpy as np

from cbir_cli.artifacts import embeddings, files
from cbir_cli.artifacts.index import Index
from cbir_cli.cli import options, sources
from cbir_cli.errors import UsageError
from cbir_cli.records import Record
from cbir_cli.stages import query as retrieval
from cbir_cli.stages.encoding import Encoder, Settings
from cbir_cli.stages.query import Queries


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
    same: bool = False

    @property
    def settings(self) -> Settings:
        """Where networks run."""
        return Settings("auto", self.device, self.threads)


class Asked:
    """QUERY while it is open: an embedding artifact, or images that are embedded now."""

    def __init__(self, query: str) -> None:
        self.query = query
        self.records: list[Record] = []
        self.encoder: Encoder | None = None
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
            artifact = self._stack.enter_context(files.open_artifact(self.query, embeddings.KIND, "cbir-index"))
            return retrieval.from_embedding(embeddings.read(artifact), index), {}
        return self._embed(index, index_path, ask)

    def _embed(self, index: Index, index_path: str, ask: Asking) -> tuple[Queries, dict[str, str]]:
        from cbir_cli.artifacts import pseudonyms
        from cbir_cli.stages import embed as embedding
        from cbir_cli.stages import streaming

        kept = index.embedding.items.pseudonyms == "kept"
        hide = pseudonyms.from_environment(keep=ask.keep_ids or kept)
        source = sources.read_images(self.query, patient=ask.patient, frame=ask.frame, null=ask.null, hide=hide)
        self.records = source.records
        self.encoder = retrieval.find_encoder(ask.model, index, index_path, ask.settings)
        job = streaming.Job(
            files.STDIO, {}, 16, options.cores(None), fail=ask.on_error == "fail", description="queries"
        )
        stack = self._stack
        done = stack.enter_context(
            streaming.extract(source.records, self.encoder.input.load, self.encoder.rows, self.encoder.fields, job)
        )
        table = embedding.table_of(done, hide, None)
        return Queries(np.asarray(done.rows["X"]), table, source.stored(hide)), done.unreadable


def check_one_stdin(*names: str) -> None:
    """Refuse standard input for two inputs at once."""
    if sum(name == files.STDIO for name in names) > 1:
        raise UsageError("- is standard input: it can stand for one input only")


def write_lines(lines: Iterable[str]) -> None:
    """Write text to standard output as it comes."""
    sys.stdout.writelines(lines)
