"""The item table: what is known of every image in an artifact.

Schema, an AnnData ``dataframe`` group named ``obs``:

===============  =======  ==========================================================================================
column           type     content
===============  =======  ==========================================================================================
``_index``       text     id, unique in the artifact
``path``         text     path below the source, with forward slashes
``patient``      text     pseudonym, or the identifier itself under ``--keep-ids``; empty where unknown
``study``        text     as patient
``view``         text     AP, PA, LATERAL or as the data set spells it; empty where unknown
``source``       text     hospital or collection, where the data set says so
``split``        text     the data set's own split
``sex``          text     F, M or empty
``age``          integer  years, or missing
``part``         integer  frame or slice of the file, from 0; -1 where the file is one image
``content``      text     first 16 hexadecimal digits of the file's sha256: the same image under another name
``phash``        text     perceptual hash, 16 hexadecimal digits; empty for a flat image. Older tables do not have it
``seen``         text     the model's set of this patient: train, validation, test, or empty where it never saw him
``label:NAME``   integer  raw code: 1 positive, 0 negative, -1 uncertain, or missing
``series``       text     as patient; the series of a slice. Only where the source says so, as the next two
``position``     integer  place of a slice in its series, from 0, or missing
``examination``  integer  place of the study among those of its patient in time, from 0, or missing: counted in one
                          source, and told instead of a date
===============  =======  ==========================================================================================

The group's attribute ``pseudonyms`` tells which key the stand-ins were made with (not the key), or ``kept``: patients
of two artifacts can be compared only where it is the same.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np

from cbir_cli.artifacts import _anndata, files
from cbir_cli.artifacts.pseudonyms import Pseudonyms
from cbir_cli.records import MISSING, Record

TEXT = ("path", "patient", "study", "view", "source", "split", "sex", "content", "seen")
_OPTIONAL = ("phash", "series")
_LABEL = "label:"
_WHOLE = -1
_INDEX = "_index"


class Items(Mapping[str, np.ndarray]):
    """The columns of an item table by name; those of a file are read when first asked for.

    To decode the text of 400,000 images takes longer than to search among them: ``stored`` and ``cells`` give text
    without decoding the column.

    Parameters
    ----------
    ids : ndarray (N,), text
        Or, as a file stores it, UTF-8 of dtype S.
    columns : mapping of str to ndarray (N,)
        Text, or integers with ``MISSING``.
    pseudonyms : str
        Which key the patients' stand-ins were made with.
    group : h5py.Group, optional
        Where columns that are not given are read from.
    """

    def __init__(
        self, ids: np.ndarray, columns: Mapping[str, np.ndarray], pseudonyms: str, group: h5py.Group | None = None
    ) -> None:
        self._ids = ids
        self.pseudonyms = pseudonyms
        self._columns = dict(columns)
        self._raw: dict[str, np.ndarray] = {}
        self._group = group
        self._names = list(group.attrs["column-order"]) if group is not None else list(columns)

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._columns:
            if self._group is None or name not in self._names:
                raise KeyError(name)
            raw = self._raw.pop(name, None)
            self._columns[name] = _anndata.column(self._group, name) if raw is None else _anndata.decoded(raw)
        return self._columns[name]

    @property
    def ids(self) -> np.ndarray:
        """The ids (N,), text."""
        if self._ids.dtype.kind == "S":
            self._ids = _anndata.decoded(self._ids)
        return self._ids

    @property
    def count(self) -> int:
        """How many images, N."""
        return len(self._ids)

    def cells(self, name: str, rows: np.ndarray | Sequence[int]) -> np.ndarray:
        """Return the text (M,) of some rows of a column; ``_index`` for the id."""
        some = self.stored(name)[rows]
        return _anndata.decoded(some) if some.dtype.kind == "S" else some

    def stated_anywhere(self, name: str) -> bool:
        """Return whether a column of text is not empty everywhere."""
        stored = self.stored(name)
        return bool((stored != stored.dtype.type()).any())

    def stored(self, name: str) -> np.ndarray:
        """Return a column of text (N,) as it is at hand: decoded, or of dtype S as it is in the file."""
        if name == _INDEX:
            return self._ids
        if name in self._columns or self._group is None or name not in self._names:
            return self[name]
        if name not in self._raw:
            self._raw[name] = _anndata.stored(self._group, name)
        return self._raw[name]

    def __contains__(self, name: object) -> bool:
        return name in self._names  # that of Mapping would read the column

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    @property
    def label_names(self) -> list[str]:
        """Names of the labels that the table has, in the data set's order."""
        return [name.removeprefix(_LABEL) for name in self._names if name.startswith(_LABEL)]

    def label(self, name: str) -> np.ndarray:
        """Return the raw codes (N,), int8, of one label."""
        return self[_LABEL + name]

    @property
    def held_out(self) -> np.ndarray:
        """Whether no network was trained or chosen on the image's patient, (N,) bool."""
        return np.isin(self["seen"], ("", "test"))

    @property
    def parts(self) -> np.ndarray:
        """Frame or slice of each file (N,), int32, -1 where it is one image; artifacts of older versions have none."""
        return self["part"] if "part" in self else np.full(self.count, _WHOLE, np.int32)

    def stated(self, row: int, names: Sequence[str]) -> dict[str, int]:
        """Return the codes that are stated for one image."""
        codes = {name: int(self.label(name)[row]) for name in names}
        return {name: code for name, code in codes.items() if code != MISSING}

    def records(self) -> list[Record]:
        """Return the rows as records, without a file: patients and studies are as the table holds them."""
        names, text = self.label_names, {name: self[name].tolist() for name in TEXT}
        ages, parts = self["age"].tolist(), self.parts.tolist()
        return [
            Record(
                id=key,
                path=Path(text["path"][row]),
                relative=text["path"][row],
                labels=self.stated(row, names),
                age=None if ages[row] == MISSING else ages[row],
                part=None if parts[row] < 0 else parts[row],
                **{name: text[name][row] for name in ("patient", "study", "view", "source", "split", "sex")},
            )
            for row, key in enumerate(self.ids.tolist())
        ]

    def take(self, rows: np.ndarray | Sequence[int]) -> "Items":
        """Return the table of some rows, in the given order."""
        return Items(self.ids[rows], {name: self[name][rows] for name in self}, self.pseudonyms)

    def replace(self, **columns: np.ndarray) -> "Items":
        """Return the table with some columns replaced."""
        return Items(self.ids, {name: columns.get(name, self[name]) for name in self}, self.pseudonyms)


def from_records(
    records: Sequence[Record], contents: Sequence[str], pseudonyms: Pseudonyms, hashes: Sequence[str] | None = None
) -> Items:
    """Build the table of some images; ``seen`` is left empty.

    Parameters
    ----------
    records : sequence of Record
    contents : sequence of str
        Content hash of each file.
    pseudonyms : Pseudonyms
        Turns patient and study identifiers into what may be written.
    hashes : sequence of str, optional
        Perceptual hash of each image; without them the table has no such column.
    """
    columns: dict[str, np.ndarray] = {
        "path": _text(r.relative for r in records),
        "patient": _text(pseudonyms(r.patient) for r in records),
        "study": _text(pseudonyms(r.study) for r in records),
        **{name: _text(getattr(r, name) for r in records) for name in ("view", "source", "split", "sex")},
        "age": np.array([MISSING if r.age is None else r.age for r in records], dtype=np.int16),
        "part": np.array([_WHOLE if r.part is None else r.part for r in records], dtype=np.int32),
        "content": _text(contents),
        **({} if hashes is None else {"phash": _text(hashes)}),
        "seen": _text("" for _ in records),
    }
    if any(r.series or r.position is not None or r.examination is not None for r in records):
        columns["series"] = _text(pseudonyms(r.series) for r in records)
        columns["position"] = _numbers((r.position for r in records), np.int32)
        columns["examination"] = _numbers((r.examination for r in records), np.int32)
    names = dict.fromkeys(name for r in records for name in r.labels)
    for name in names:
        columns[_LABEL + name.replace("/", "-")] = np.array(
            [r.labels.get(name, MISSING) for r in records], dtype=np.int8
        )
    return Items(_text(r.id for r in records), columns, pseudonyms.check)


def write(parent: h5py.Group, items: Items) -> None:
    """Write the table as ``obs``."""
    _anndata.frame(parent, "obs", items.ids, items)
    parent["obs"].attrs["pseudonyms"] = items.pseudonyms


def read(parent: h5py.Group, name: str) -> Items:
    """Read the table lazily; it is good while the file is open.

    Raises
    ------
    ArtifactError
        If it is missing, or its columns are not those of the schema. ``name`` names the file.
    """
    with files.reading(name):
        group = parent["obs"]
        ids = _anndata.stored(group, _INDEX)
        columns = list(group.attrs["column-order"])
        if lacking := [column for column in (*TEXT, "age") if column not in columns]:
            raise ValueError(f"the item table has no column {lacking[0]}")
        text = (*TEXT, *_OPTIONAL)
        for column in columns:
            if (count := _anndata.length(group, column)) != len(ids):
                raise ValueError(f"column {column} has {count} rows, the item table {len(ids)}")
            if (group[column].dtype.kind != "S") if column in text else isinstance(group[column], h5py.Dataset):
                raise ValueError(f"column {column} of the item table holds what it should not")
        # The rows of an index are sorted by id, and UTF-8 sorts as the text does.
        if not (ids[1:] > ids[:-1]).all() and len(set(ids.tolist())) < len(ids):
            raise ValueError("an id occurs twice in the item table")
        return Items(ids, {}, str(group.attrs.get("pseudonyms", "")), group)


def _text(values: Iterable[str]) -> np.ndarray:
    return np.array([*values], dtype=np.str_)


def _numbers(values: Iterable[int | None], kind: type[np.signedinteger]) -> np.ndarray:
    return np.array([MISSING if value is None else value for value in values], dtype=kind)
