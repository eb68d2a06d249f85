"""PostgreSQL with the extension vector: a table for a collection, ordinary SQL beside it.

A URI is ``postgresql://user@host:port/database``; the password comes from it, from ``PGPASSWORD`` or from libpq's
password file. Rows are copied in binary form, a batch in one transaction. The record of the collection and whether it
is whole are the comment of its table, so they are dropped and restored with it.

Without an index a search reads every vector and misses none. With HNSW it is approximate, and a filter is applied to
what the graph finds: where that leaves fewer than k, the search is done again without it. An index takes at most 2,000
dimensions.

Reference
---------
Y. A. Malkov, D. A. Yashunin. Efficient and robust approximate nearest neighbor search using Hierarchical Navigable
Small World graphs. TPAMI 2020. arXiv:1603.09320. (The index; the extension is pgvector.)
"""

import json
import logging
import os
import re
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

log = logging.getLogger("cbir")


INDEXES = ("auto", "hnsw", "none")
_WIDEST = 2000  # dimensions that pgvector indexes as single precision
_FEW = 20_000  # vectors that are searched one by one faster than a graph of them is worth
_EF = 1000  # largest that pgvector takes
_OPERATORS = {"l2": ("<->", "vector_l2_ops"), "cosine": ("<=>", "vector_cosine_ops")}
_MARK = "cbir collection "  # how the comment of a table begins


def recognise(uri: str) -> bool:
    """Whether a URI is one of PostgreSQL."""
    return uri.startswith(("postgresql://", "postgres://"))


def open(uri: str, name: str, *, make: bool = False, timeout: float = 10.0) -> "Store":
    """Connect to a database.

    Parameters
    ----------
    uri : str
    name : str
        Of the collection: a table of the schema that is found first.
    make : bool
        Make the extension if the database does not have it.
    timeout : float
        Seconds until a server that does not answer is given up.

    Raises
    ------
    CbirError
        If psycopg or the extension is not there, or the server does not answer or refuses the user.
    """
    try:
        import psycopg
        from pgvector.psycopg import register_vector
    except ImportError as error:
        raise CbirError(f"PostgreSQL needs {error.name}: pip install 'cbir-cli[pgvector]'") from None
    check_name(name)
    with _told(uri):
        connection = psycopg.connect(
            uri, connect_timeout=max(2, int(timeout)), autocommit=True, application_name="cbir"
        )
        try:
            if make:
                connection.execute("SET client_min_messages TO warning")
                connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
            if not connection.execute("SELECT to_regtype('vector')").fetchone()[0]:
                raise CbirError(f"{_uris.shown(uri)}: the database has no extension vector, which cbir index makes")
            register_vector(connection)
        except BaseException:
            connection.close()
            raise
    return Store(connection, uri, name)


class Store:
    """One collection of a database, there or not."""

    largest_k = 1 << 31  # results of one query

    def __init__(self, connection: Any, uri: str, name: str) -> None:
        self._connection, self._uri, self.name = connection, uri, name
        self._table = _quoted(name)
        self._known: dict[str, Any] | None = None
        self.where = f"{name} at {_uris.shown(uri)}"

    def names(self) -> list[str]:
        """Return the collections that are there."""
        found = self._all("SELECT relname FROM pg_class WHERE obj_description(oid, 'pg_class') LIKE %s", [_MARK + "%"])
        return sorted(row[0] for row in found)

    def record(self) -> dict[str, Any] | None:
        """Return what ``create`` was given, or None where there is no such collection.

        Raises
        ------
        CbirError
            If there is a table of this name that is no collection.
        """
        found = self._all(
            "SELECT obj_description(oid, 'pg_class') FROM pg_class WHERE oid = to_regclass(%s)", [self._table]
        )
        if not found:
            return None
        comment = found[0][0] or ""
        try:
            if not comment.startswith(_MARK):
                raise ValueError
            self._known = json.loads(comment.removeprefix(_MARK))
            return dict(self._known["record"])
        except (ValueError, KeyError, TypeError):
            raise CbirError(f"{self.where}: is a table that cbir index did not make") from None

    def create(
        self,
        record: Mapping[str, Any],
        columns: Mapping[str, Column],
        width: int,
        *,
        metric: str,
        index: str = "auto",
        m: int = 16,
        ef_construction: int = 64,
        ef: int = 100,
    ) -> None:
        """Make the table, with its record as comment.

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
            ``hnsw``, ``none`` for an exact search, or ``auto``: hnsw above 20,000 vectors, if they have at most 2,000
            dimensions.
        m : int
            Edges of a vector in the graph, 2 to 100.
        ef_construction : int
            Candidates while the graph is built, 4 to 1,000; at least twice ``m``.
        ef : int
            Candidates of a query, 1 to 1,000; raised to twice the results that are wanted.

        Raises
        ------
        UsageError
            If a parameter cannot be.
        """
        check(metric=metric, index=index, m=m, ef_construction=ef_construction, ef=ef)
        if index == "hnsw" and width > _WIDEST:
            raise UsageError(f"index=hnsw: pgvector indexes at most {_WIDEST:,} dimensions, found {width:,}")
        kinds = {8: "smallint", 16: "smallint", 32: "integer", 64: "bigint"}
        fields = [f"{_quoted(VECTOR)} vector({width}) NOT NULL"]
        for column in columns.values():
            kind = kinds[column.bits] if column.bits else 'text COLLATE "C"'
            fields.append(f"{_quoted(column.field)} {kind} NOT NULL{' PRIMARY KEY' * (column.field == ID)}")
        parameters = {"metric": metric, "index": index, "m": m, "ef_construction": ef_construction, "ef": ef}
        known = {"record": dict(record), "columns": _plain(columns), "parameters": parameters, "whole": False}
        with self._transaction():
            self._connection.execute(f"CREATE TABLE {self._table} ({', '.join(fields)})")
            # Vectors do not compress: without the attempt rows are copied faster.
            self._connection.execute(f"ALTER TABLE {self._table} ALTER {_quoted(VECTOR)} SET STORAGE EXTERNAL")
            self._comment(known)
        self._known = known

    def present(self, ids: Sequence[str]) -> set[str]:
        """Return which of some ids the collection holds."""
        return {row[0] for row in self._all(f"SELECT id FROM {self._table} WHERE id = ANY(%s)", [list(ids)])}

    def insert(self, ids: ndarray, vectors: ndarray, columns: Mapping[str, ndarray]) -> None:
        """Add rows (n,) with vectors (n, D) float32, that are not there yet: all of them or none."""
        fields = {name: column for name, column in self.columns().items() if name != ID}
        names = ", ".join(map(_quoted, [ID, *(column.field for column in fields.values()), VECTOR]))
        kinds = {8: "int2", 16: "int2", 32: "int4", 64: "int8"}
        types = ["text", *(kinds[column.bits] if column.bits else "text" for column in fields.values()), "vector"]
        values = [ids.tolist(), *(columns[name].tolist() for name in fields), vectors]
        with self._transaction(), self._connection.cursor() as cursor:
            with cursor.copy(f"COPY {self._table} ({names}) FROM STDIN WITH (FORMAT BINARY)") as copy:
                copy.set_types(types)
                for row in zip(*values, strict=True):
                    copy.write_row(row)

    def finish(self) -> None:
        """Build the index, and note that the collection is whole."""
        known = self._state()
        given, count, index = known["parameters"], self.count(None), known["parameters"]["index"]
        width = self._all(
            "SELECT atttypmod FROM pg_attribute WHERE attrelid = %s::regclass AND attname = %s", [self._table, VECTOR]
        )[0][0]
        if index == "auto" and count > _FEW and width > _WIDEST:
            log.warning("pgvector indexes at most %s dimensions: %s is searched without index", _WIDEST, self.name)
        if index == "auto":
            index = "hnsw" if count > _FEW and width <= _WIDEST else "none"
        with self._transaction():
            for name in ("patient", "study", "content"):  # what keeps the same patient away asks for these
                if name in self.columns():
                    self._connection.execute(f"CREATE INDEX ON {self._table} ({_quoted(name)})")
            if index == "hnsw":
                self._connection.execute(
                    f"CREATE INDEX ON {self._table} USING hnsw ({_quoted(VECTOR)} {_OPERATORS[given['metric']][1]}) "
                    f"WITH (m = {int(given['m'])}, ef_construction = {int(given['ef_construction'])})"
                )
            known = {**known, "parameters": {**given, "index": index}, "whole": True}
            self._comment(known)
        self._known = known
        with _told(self._uri):
            self._connection.execute(f"ANALYZE {self._table}")

    def whole(self) -> bool:
        """Whether all of it is there."""
        return bool(self._state()["whole"])

    def count(self, tree: Tree | None) -> int:
        """Return for how many rows an expression holds, or how many there are."""
        condition, values = self._condition(tree)
        return int(self._all(f"SELECT count(*) FROM {self._table}{condition}", values)[0][0])

    def rows(self, tree: Tree, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """Yield some columns of the rows that an expression holds for."""
        condition, values = self._condition(tree)
        names = ", ".join(_quoted(self.columns()[name].field) for name in columns)
        yield from self._all(f"SELECT {names} FROM {self._table}{condition}", values)

    def search(
        self, vectors: ndarray, k: int, tree: Tree | None
    ) -> list[tuple[list[str], ndarray, dict[str, list[Any]]]]:
        """Return ids, vectors (n, D) float32 and columns of the candidates of each query (Q, D); n = k if k exist."""
        given, columns = self._state()["parameters"], self.columns()
        condition, values = self._condition(tree)
        operator = _OPERATORS[given["metric"]][0]
        names = ", ".join(map(_quoted, [VECTOR, *(column.field for column in columns.values())]))
        start = f"SELECT {names} FROM {self._table}{condition} ORDER BY {_quoted(VECTOR)} {operator} %s"
        answers = []
        for vector in vectors:
            found: list[tuple[Any, ...]] = []
            if given["index"] == "hnsw" and k <= _EF:
                with self._transaction():
                    ef = min(_EF, max(int(given["ef"]), 2 * k))
                    self._connection.execute(f"SET LOCAL hnsw.ef_search = {ef}")
                    found = self._fetched(f"{start} LIMIT %s", [*values, vector, k])
            if len(found) < k:
                with self._transaction():
                    self._connection.execute("SET LOCAL enable_indexscan = off")
                    found = self._fetched(f"{start}, id LIMIT %s", [*values, vector, k])
            cells = list(zip(*found, strict=True)) if found else [()] * (1 + len(columns))
            there = dict(zip(columns, map(list, cells[1:]), strict=True))
            near = np.array([cell.to_numpy() for cell in cells[0]], dtype=np.float32).reshape(
                len(found), vectors.shape[1]
            )
            answers.append((there[ID], near, there))
        return answers

    def drop(self) -> None:
        """Remove the collection."""
        with _told(self._uri):
            self._connection.execute(f"DROP TABLE IF EXISTS {self._table}")
        self._known = None

    def close(self) -> None:
        """Leave the database."""
        self._connection.close()

    def _state(self) -> dict[str, Any]:
        if self._known is None:
            self.record()
        if self._known is None:
            raise CbirError(f"{self.where}: there is no such collection")
        return self._known

    def columns(self) -> dict[str, Column]:
        """Return the columns of the collection, ``id`` first."""
        return {name: Column(**column) for name, column in self._state()["columns"].items()}

    def _condition(self, tree: Tree | None) -> tuple[str, list[Any]]:
        if tree is None:
            return "", []
        values: list[Any] = []

        def bound(value: Value) -> str:
            values.append(value)
            return "%s"

        def among(field: str, listed: Sequence[Value]) -> str:
            values.append(list(listed))
            return f"{_quoted(field)} = ANY(%s)"

        language = _filters.Language("=", _quoted, bound, among, "false")
        return " WHERE " + _filters.write(tree, self.columns(), language), values

    def _comment(self, known: Mapping[str, Any]) -> None:
        from psycopg import sql

        text = sql.Literal(_MARK + json.dumps(known))
        self._connection.execute(sql.SQL("COMMENT ON TABLE {} IS {}").format(sql.Identifier(self.name), text))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with _told(self._uri), self._connection.transaction():
            yield

    def _all(self, query: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        with _told(self._uri):
            return self._fetched(query, values)

    def _fetched(self, query: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        return list(self._connection.execute(query, values).fetchall())


@contextmanager
def _told(uri: str) -> Iterator[None]:
    """Turn what PostgreSQL refuses into one line without secrets."""
    import psycopg

    try:
        yield
    except psycopg.Error as error:
        said = re.sub(r"\b(?:HINT|DETAIL|CONTEXT|LINE \d+):.*", "", str(error), flags=re.S)
        raise CbirError(f"{_uris.shown(uri)}: {_uris.scrubbed(said, uri, os.environ.get('PGPASSWORD', ''))}") from None


def check(*, metric: str, index: str, m: int, ef_construction: int, ef: int) -> None:
    """Refuse parameters of ``create`` that cannot be; UsageError."""
    if metric not in _OPERATORS:
        raise UsageError(f"pgvector compares by {' or '.join(_OPERATORS)}, not by {metric}: use --kind exact")
    if index not in INDEXES:
        raise registry.unknown("index of pgvector", index, INDEXES)
    if not (2 <= m <= 100 and 4 <= ef_construction <= 1000 and ef_construction >= 2 * m and 1 <= ef <= _EF):
        raise UsageError(
            f"pgvector: expected m of 2 to 100, ef_construction of 2 m to 1000 and ef of 1 to 1000, found m={m}, "
            f"ef_construction={ef_construction}, ef={ef}"
        )


def _plain(columns: Mapping[str, Column]) -> dict[str, dict[str, Any]]:
    return {name: vars(column) for name, column in columns.items()}


def _quoted(field: str) -> str:
    return '"' + field.replace('"', '""') + '"'
