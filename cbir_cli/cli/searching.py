"""How ``cbir query`` searches index files: one or several, with feedback, fusion and doubt."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from cbir_cli.artifacts import files
from cbir_cli.artifacts import index as indexes
from cbir_cli.artifacts.index import Index
from cbir_cli.cli import asking
from cbir_cli.splits import SplitRow
from cbir_cli.stages import asked as spaces
from cbir_cli.stages import confidence, feedback, fusion
from cbir_cli.stages import query as retrieval
from cbir_cli.stages.confidence import Confidence
from cbir_cli.stages.feedback import Feedback
from cbir_cli.stages.query import Found, Queries, Wanted


@dataclass(frozen=True)
class Search:
    """What is searched for.

    Attributes
    ----------
    wanted : Wanted
    most : int or None
        Results of each query; None for all.
    table : list of SplitRow, optional
        Each query is ranked within its own catalogue.
    judged : Feedback, optional
        Images that the queries are moved towards, or away from.
    how : fusion.How, optional
        How the lists of several indexes become one.
    sure : Confidence
    compat : str
    """

    wanted: Wanted
    most: int | None
    table: list[SplitRow] | None
    judged: Feedback | None
    how: fusion.How | None
    sure: Confidence
    compat: str


@dataclass(frozen=True)
class Answer:
    """What was found.

    Attributes
    ----------
    found : Found
    queries : Queries
    unreadable : dict of str to str
        Why each image that could not be read is not among the queries.
    strange : dict of int to float
        Queries that are unlike anything in the catalogue, as ``confidence.unlike`` returns them.
    index : Index, optional
        The first that was asked; None of an engine.
    """

    found: Found
    queries: Queries
    unreadable: dict[str, str]
    strange: dict[int, float] = field(default_factory=dict)
    index: Index | None = None


def in_files(
    asked: asking.Asked, paths: Sequence[tuple[str, str]], ask: asking.Asking, search: Search, stack: ExitStack
) -> Answer:
    """Search index files.

    Parameters
    ----------
    asked : Asked
        QUERY, open.
    paths : sequence of (str, str)
        Each index, and the embedding of the queries in its space where one is named. The first is asked with QUERY.
    ask : Asking
    search : Search
    stack : ExitStack
        Keeps the files open as long as the answer is read.
    """
    wanted, judged, sure, table = search.wanted, search.judged, search.sure, search.table
    opened = []
    for path, _ in paths:
        artifact = stack.enter_context(files.open_artifact(path, indexes.KIND))
        opened.append(spaces.asked_as(indexes.read(artifact), compat=search.compat))
        wanted.filters.check(opened[-1].embedding.items)
    first = opened[0]
    sure.check(first)
    rows = feedback.rows_of(opened, judged)
    queries, unreadable = asked.queries(first, paths[0][0], ask)
    table = asking.rows_asked(table, queries, ask.only)
    every = [queries]
    for stored, (path, embedding) in zip(opened[1:], paths[1:], strict=True):
        own = asked.again(stored, path, ask, embedding)
        every.append(fusion.aligned(own, queries, embedding or asked.query))
    parts = [feedback.refined(*part, judged) for part in zip(opened, every, rows, strict=True)]
    if search.how:
        found = fusion.search_all(parts, search.how, search.most, wanted, table)
        return Answer(found, queries, unreadable, index=first)
    found = retrieval.search_part(parts[0], search.most, wanted, table)
    plain = confidence.is_plain(wanted, moved=bool(judged or table))
    strange = confidence.unlike(first, queries, found.answers, plain=plain, quantile=sure.quantile)
    if sure.abstain:
        found = replace(found, answers=confidence.abstained(found.answers, strange))
    return Answer(found, queries, unreadable, strange, first)
