"""Milvus, in a file, on a server or on a cluster: the same client, and only the URI differs.

A URI is the path of a file that ends in ``.db`` (Milvus Lite, for one process at a time), or ``http://host:19530`` or
``https://host:19530`` with a server behind it. A user and password are taken from the URI, a token from
``MILVUS_TOKEN``. The record of a collection and whether it is whole are its properties, so they go with it.

Rows are written by id, so a batch that is sent again is there once. What was written is found: the first read of a
connection is strongly consistent, and so are all while a collection is loaded.

Reference
---------
J. Wang et al. Milvus: A Purpose-Built Vector Data Management System. SIGMOD 2021. doi:10.1145/3448016.3457550.
"""

import importlib.util
import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy import ndarray

from cbir_cli import registry
from cbir_cli.errors import CbirError, UsageError
from cbir_cli.stores import _filters, _uris
from cbir_cli.stores._columns import ID, VECTOR, Column, check_name
from cbir_cli.where import Tree, Value

INDEXES = ("autoindex", "flat", "hnsw")
_METRICS = {"l2": "L2", "cosine": "COSINE"}  # Milvus squares L2, which does not matter: distances are not taken from it
_RECORD, _STATE, _WHOLE = "cbir.record", "cbir.state", "whole"
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n", "\r": r"\r", "\t": r"\t"})
_PAGE = 4096  # rows of one answer while many are read


def recognise(uri: str) -> bool:
    """Whether a URI is a file of Milvus Lite or a server of Milvus."""
    return uri.startswith(("http://", "https://")) or uri.endswith(".db")


def open(uri: str, name: str, *, make: bool = False, timeout: float = 10.0) -> "Store":
    """Connect to Milvus.

    Parameters
    ----------
    uri : str
    name : str
        Of the collection.
    make : bool
        Make the file of Milvus Lite if there is none.
    timeout : float
        Seconds until a server that does not answer is given up.

    Raises
    ------
    CbirError
        If pymilvus is not there, the server does not answer or refuses the user, or another process has the file.
    """
    try:
        from pymilvus import MilvusClient
    except ImportError as error:
        raise CbirError(f"Milvus needs {error.name}: pip install 'cbir-cli[milvus]'") from None
    check_name(name)
    # What goes wrong is told once, by whoever catches it.
    logging.getLogger("pymilvus").setLevel(logging.CRITICAL + 1)
    logging.getLogger("milvus_lite").setLevel(logging.CRITICAL + 1)
    if "://" not in uri:
        if not make and not os.path.exists(uri):
            raise CbirError(f"{uri}: there is no such file")
        if importlib.util.find_spec("milvus_lite") is None:
            raise CbirError("a file of Milvus Lite needs milvus-lite: pip install 'cbir-cli[milvus]'")
        try:
            client = MilvusClient(uri, timeout=timeout)
        except Exception as error:  # of several libraries, some with no class of their own
            raise CbirError(
                f"{uri}: Milvus Lite cannot open it: another process has it open, or it is no file of Milvus Lite "
                f"({_first(error)})"
            ) from None
    else:
        address, user, password = _uris.without_user(uri)
        token = os.environ.get("MILVUS_TOKEN", "")
        with _told(uri):
            client = MilvusClient(address, user=user, password=password, token=token, timeout=timeout)
    return Store(client, uri, name)


class Store:
    """One collection of a Milvus, there or not."""

    largest_k = 16_384  # results of one query; and rows of one answer

    def __init__(self, client: Any, uri: str, name: str) -> None:
        self._client, self._uri, self.name = client, uri, name
        self._known: dict[str, Any] | None = None
        self._loaded = False
        self.where = f"{name} at {_uris.shown(uri)}"

    def names(self) -> list[str]:
        """Return the collections that are there, those of other programs too."""
        with _told(self._uri):
            return sorted(self._client.list_collections(timeout=30))

    def record(self) -> dict[str, Any] | None:
        """Return what ``create`` was given, or None where there is no such collection.

        Raises
        ------
        CbirError
            If there is a collection of this name that cbir did not make.
        """
        with _told(self._uri):
            if not self._client.has_collection(self.name, timeout=30):
                return None
            found = self._client.describe_collection(self.name, timeout=30).get("properties") or {}
        try:
            self._known = {**json.loads(found[_RECORD]), "whole": found.get(_STATE) == _WHOLE}
            return dict(self._known["record"])
        except (ValueError, KeyError, TypeError):
            raise CbirError(f"{self.where}: is a collection that cbir index did not make") from None

    def create(
        self,
        record: Mapping[str, Any],
        columns: Mapping[str, Column],
        width: int,
        *,
        metric: str,
        index: str = "autoindex",
        m: int = 32,
        ef_construction: int = 200,
        ef: int = 64,
        shards: int = 1,
    ) -> None:
        """Make the collection, with its index and its record.

        Parameters
        ----------
        record : mapping
            Goes into JSON.
        columns : mapping of str to Column
        width : int
            Dimensions of a vector.
        metric : str
            ``l2`` or ``cosine``.
        index : str
            ``autoindex``, as the server thinks best; ``hnsw``; or ``flat``, for an exact search.
        m : int
            Edges of a vector in the graph of hnsw, 2 to 2,048.
        ef_construction : int
            Candidates while the graph is built.
        ef : int
            Candidates of a query in the graph; raised to twice the results that are wanted.
        shards : int
            Channels by which a cluster takes rows in.

        Raises
        ------
        UsageError
            If a parameter cannot be.
        """
        from pymilvus import DataType, MilvusClient

        check(metric=metric, index=index, m=m, ef_construction=ef_construction, ef=ef, shards=shards)
        schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
        integers = {8: DataType.INT8, 16: DataType.INT16, 32: DataType.INT32, 64: DataType.INT64}
        for column in columns.values():
            if column.bits:
                schema.add_field(column.field, integers[column.bits])
            else:
                # A server plans its segments for the longest text: 65,535 for all would make thousands of small ones.
                room = min(65_535, max(16, 1 << column.longest.bit_length()))
                schema.add_field(column.field, DataType.VARCHAR, max_length=room, is_primary=column.field == ID)
        schema.add_field(VECTOR, DataType.FLOAT_VECTOR, dim=width)
        indexes = MilvusClient.prepare_index_params()
        built = {"M": m, "efConstruction": ef_construction} if index == "hnsw" else {}
        indexes.add_index(VECTOR, index_type=index.upper(), metric_type=_METRICS[metric], params=built)
        known = {
            "record": dict(record),
            "columns": {name: vars(column) for name, column in columns.items()},
            "parameters": {"metric": metric, "index": index, "ef": ef},
        }
        with _told(self._uri):
            self._client.create_collection(
                self.name,
                schema=schema,
                index_params=indexes,
                consistency_level="Strong",
                num_shards=shards,
                properties={_RECORD: json.dumps(known), _STATE: "loading"},
                timeout=120,
            )
        self._known = {**known, "whole": False}

    def present(self, ids: Sequence[str]) -> set[str]:
        """Return which of some ids the collection holds."""
        there: set[str] = set()
        for start in range(0, len(ids), _PAGE):
            there |= {row[ID] for row in self._query(f"{ID} in {_listed(ids[start : start + _PAGE])}", [ID])}
        return there

    def insert(self, ids: ndarray, vectors: ndarray, columns: Mapping[str, ndarray]) -> None:
        """Add rows (n,) with vectors (n, D) float32; one that is there is written over."""
        fields = {column.field: columns[name] for name, column in self.columns().items() if name != ID}
        names, cells = [ID, *fields], zip(ids.tolist(), *(f.tolist() for f in fields.values()), strict=True)
        rows = [{**dict(zip(names, row, strict=True)), VECTOR: v} for row, v in zip(cells, vectors, strict=True)]
        with _told(self._uri):
            self._client.upsert(self.name, rows, timeout=60)

    def finish(self) -> None:
        """Write out what is in memory, which has the last rows indexed, and note that the collection is whole."""
        with _told(self._uri):
            self._client.flush(self.name, timeout=600)
            self._client.alter_collection_properties(self.name, {_STATE: _WHOLE}, timeout=60)
        self._known = {**self._state(), "whole": True}

    def whole(self) -> bool:
        """Whether all of it is there."""
        return bool(self._state()["whole"])

    def count(self, tree: Tree | None) -> int:
        """Return for how many rows an expression holds, or how many there are."""
        return int(self._query(self._condition(tree), ["count(*)"])[0]["count(*)"])

    def rows(self, tree: Tree, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """Yield some columns of the rows that an expression holds for."""
        fields = [self.columns()[name].field for name in columns]
        page = self._query(self._condition(tree), fields, limit=self.largest_k)
        if len(page) < self.largest_k:
            yield from (tuple(row[field] for field in fields) for row in page)
            return
        with _told(self._uri):
            pages = self._client.query_iterator(
                self.name,
                batch_size=_PAGE,
                filter=self._condition(tree),
                output_fields=fields,
                consistency_level=self._seen(),
                timeout=60,
            )
            try:
                while page := pages.next():
                    yield from (tuple(row[field] for field in fields) for row in page)
            finally:
                pages.close()

    def search(
        self, vectors: ndarray, k: int, tree: Tree | None
    ) -> list[tuple[list[str], ndarray, dict[str, list[Any]]]]:
        """Return ids, vectors (n, D) float32 and columns of the candidates of each query (Q, D); n = k if k exist."""
        if k > self.largest_k:
            raise UsageError(f"Milvus gives at most {self.largest_k:,} results, {k:,} were asked for")
        given, columns = self._state()["parameters"], self.columns()
        fields = {name: column.field for name, column in columns.items()}
        effort = {"ef": min(32_768, max(int(given["ef"]), 2 * k))} if given["index"] == "hnsw" else {}
        with _told(self._uri):
            self._load()
            answered = self._client.search(
                self.name,
                [vector.tolist() for vector in vectors],
                limit=k,
                filter=self._condition(tree),
                output_fields=[*fields.values(), VECTOR],  # a file gives vectors unasked, a server does not
                search_params={"params": effort},
                consistency_level=self._seen(),
                timeout=60,
            )
        found = [[hit["entity"] for hit in hits] for hits in answered]
        if any(len(rows) < k for rows in found) and max(map(len, found)) < (there := self.count(tree)):
            found = self._all_of(tree, there, [*fields.values(), VECTOR], found, k)
        width = vectors.shape[1]
        return [
            (
                [row[ID] for row in rows],
                np.array([row[VECTOR] for row in rows], dtype=np.float32).reshape(len(rows), width),
                {name: [row[field] for row in rows] for name, field in fields.items()},
            )
            for rows in found
        ]

    def drop(self) -> None:
        """Remove the collection."""
        with _told(self._uri):
            self._client.drop_collection(self.name, timeout=60)
        self._known, self._loaded = None, False

    def close(self) -> None:
        """Leave the engine."""
        self._client.close()
        if "://" not in self._uri:  # else its server would have the file until this process ends
            from milvus_lite.server_manager import server_manager_instance

            server_manager_instance.release_server(self._uri)

    def _all_of(
        self, tree: Tree | None, there: int, fields: Sequence[str], found: list[list[Any]], k: int
    ) -> list[list[Any]]:
        """Return all rows of a filter in place of an answer that left some out, as a graph does behind a filter."""
        if there > self.largest_k:
            return found
        rows = list(self._query(self._condition(tree), list(fields), limit=self.largest_k))
        return [hits if len(hits) >= k else rows for hits in found]

    def _state(self) -> dict[str, Any]:
        if self._known is None:
            self.record()
        if self._known is None:
            raise CbirError(f"{self.where}: there is no such collection")
        return self._known

    def columns(self) -> dict[str, Column]:
        """Return the columns of the collection, ``id`` first."""
        return {name: Column(**column) for name, column in self._state()["columns"].items()}

    def _condition(self, tree: Tree | None) -> str:
        if tree is None:
            return ""
        language = _filters.Language(
            "==", lambda field: field, _literal, lambda field, values: f"{field} in {_listed(values)}", f"{ID} in []"
        )
        return _filters.write(tree, self.columns(), language)

    def _query(self, condition: str, fields: Sequence[str], **limits: int) -> Any:
        with _told(self._uri):
            self._load()
            return self._client.query(
                self.name,
                filter=condition,
                output_fields=list(fields),
                consistency_level=self._seen(),
                timeout=60,
                **limits,
            )

    def _load(self) -> None:
        """Have the collection in the memory of the server, which forgets it when it starts again."""
        if self._loaded:
            return
        self._client.load_collection(self.name, timeout=300)
        # Waits until all that was ever written is seen; once, since a strong read takes a server a fifth of a second.
        self._client.query(self.name, filter="", output_fields=["count(*)"], consistency_level="Strong", timeout=60)
        self._loaded = True

    def _seen(self) -> str:
        """Return how consistent a read has to be: nothing is written any more where all is there."""
        return "Eventually" if self.whole() else "Strong"


@contextmanager
def _told(uri: str) -> Iterator[None]:
    """Turn what Milvus refuses into one line without secrets."""
    import grpc
    from pymilvus.exceptions import MilvusException

    try:
        yield
    except (MilvusException, grpc.RpcError, grpc.FutureTimeoutError) as error:
        said = _uris.scrubbed(_first(error), uri, os.environ.get("MILVUS_TOKEN", ""))
        raise CbirError(f"{_uris.shown(uri)}: {said}") from None


def _first(error: BaseException) -> str:
    said = getattr(error, "message", "") or (error.details() if hasattr(error, "details") else "") or str(error)
    return " ".join(str(said).split())[:300]


def _literal(value: Value) -> str:
    return f'"{value.translate(_ESCAPES)}"' if isinstance(value, str) else str(value)


def _listed(values: Sequence[Value]) -> str:
    return "[" + ", ".join(map(_literal, values)) + "]"


def check(*, metric: str, index: str, m: int, ef_construction: int, ef: int, shards: int) -> None:
    """Refuse parameters of ``create`` that cannot be; UsageError."""
    if metric not in _METRICS:
        raise UsageError(f"Milvus compares by {' or '.join(_METRICS)}, not by {metric}: use --kind exact")
    if index not in INDEXES:
        raise registry.unknown("index of Milvus", index, INDEXES)
    if not (2 <= m <= 2048 and 1 <= ef_construction and 1 <= ef <= 32_768 and 1 <= shards <= 64):
        raise UsageError(
            "Milvus: expected m of 2 to 2048, ef_construction of at least 1, ef of 1 to 32768 and shards of 1 to 64, "
            f"found m={m}, ef_construction={ef_construction}, ef={ef}, shards={shards}"
        )
