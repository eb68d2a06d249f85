"""``cbir evaluate``: score ranked lists, classifiers, saliency maps and explanations."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cbir_cli.cli import options

if TYPE_CHECKING:
    from collections.abc import Mapping

_GO_WITH = {
    "--agreement": ("--items", "--raters", "--metrics"),
    "--conflicts": ("--items", "--raters", "--rater", "--label"),
    "explanations": ("--masks", "--metrics", "--label", "--set", "--allow-leaks"),
    "--format qrels": ("--allow-leaks", "--items", "--raters", "--rater", "--split", "--label", "--set"),
}
"""The options that go with what is asked for in place of scores."""


class Ties(StrEnum):
    """How results that are equally far are scored."""

    rank = "rank"
    average = "average"


class ScoreFormat(StrEnum):
    """How scores are printed, or in place of them what a run is judged against."""

    tsv = "tsv"
    json = "json"
    table = "table"
    qrels = "qrels"


def run(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE...",
            help="Runs (TSV, JSON lines, TREC), embedding artifacts, explanations; with --masks maps artifacts. With "
            "--raters there may be none.",
            show_default=False,
        ),
    ] = None,
    items: Annotated[
        str | None,
        typer.Option(
            "--items", metavar="IDX", help="Index or embedding that knows the catalogue: relevant counts, labels."
        ),
    ] = None,
    raters: Annotated[
        str | None, typer.Option("--raters", metavar="RANKS", help="Expert ranks: CSV with query,rater,rank,id.")
    ] = None,
    rater: Annotated[
        str | None,
        typer.Option("--rater", help="Reference rater, or panel: all of them; R1, else the first, by default."),
    ] = None,
    agreement: Annotated[
        bool, typer.Option("--agreement", help="Instead, how far raters agree with each other and runs with them.")
    ] = False,
    conflicts: Annotated[
        bool, typer.Option("--conflicts", help="Instead, the images that raters label otherwise than the data set.")
    ] = False,
    split: options.SplitFile = None,
    label: Annotated[
        str | None,
        typer.Option(
            "--label", help="Label that decides what is relevant, where there are several; or classes, or all."
        ),
    ] = None,
    masks: Annotated[
        str | None,
        typer.Option(
            "--masks",
            metavar="DIR",
            help="Images whose non-zero pixels are lesion, by the images' paths or names; or a table or READER:ROOT.",
        ),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(
            "--metrics", help="Such as ndcg@4,p@5,r-precision,f1,relevance-rank; the usual ones that fit by default."
        ),
    ] = None,
    compare: Annotated[
        str | None,
        typer.Option(
            "--compare",
            metavar="FILE|all",
            help="Compare methods on the same queries: one with each other, or all pairs; that is the table then.",
        ),
    ] = None,
    over_files: Annotated[
        bool,
        typer.Option(
            "--over-files", help="Files whose names differ in the last number alone, as of several trainings, are one."
        ),
    ] = False,
    spread: Annotated[
        options.Spread | None,
        typer.Option(
            "--spread",
            help="What a table says: mean and range, mean and sd, mean and 95 % interval, or median and quartiles.",
        ),
    ] = None,
    by: Annotated[
        str | None, typer.Option("--by", help="Also score groups of queries: class, view, source, sex, age.")
    ] = None,
    ties: Annotated[
        Ties | None,
        typer.Option("--ties", help="Equal distances: as the run ranks them (default), or the mean of their orders."),
    ] = None,
    qrels: Annotated[
        str | None,
        typer.Option("--qrels", metavar="QRELS", help="Grades of the images in TREC's form: query 0 id grade."),
    ] = None,
    settings: options.Set = None,
    allow_leaks: Annotated[
        bool,
        typer.Option("--allow-leaks", help="Warn where queries were trained on, or answered with their own patient."),
    ] = False,
    format: Annotated[
        ScoreFormat | None,
        typer.Option(
            "--format", help="How to print; qrels: what the run is judged against, for trec_eval and its kin."
        ),
    ] = None,
) -> None:
    """Score ranked lists, classifiers, saliency maps and explanations.

    A run is scored against expert ranks (nDCG) or labels (R-precision, precision@k); an embedding's logits give F1 and
    AUROC on the images that no training has seen; maps, of one method or of several to choose from, by whether they
    point at the lesion in a mask (relevance rank accuracy, pointing game). A random baseline stands beside every score.

    The mask of images/a/1.png is images/a/1, a/1 or 1 in DIR, with the ending of any image format; the longest that is
    there counts. Images without a mask, or with an empty one, are left out and counted. --set reaches the parameters of
    these metrics: sign=absolute, and tolerance=15 of the pointing game.

    Explanations are scored by the area under their insertion and deletion curves, if cbir explain --measure made them,
    by sparseness and by the share of relevance at the edge and in the corners (border-mass), and with --masks as maps
    are. Values are averaged over the results of each query, then over the queries of each class. Beside the mean stand
    two baselines, a random map (smooth random values) and a random network (the same method on random weights), and
    the difference to each; from six queries on, means and differences have 95 % intervals over queries. The rank
    correlations of --measure randomisation follow, layer by layer.

    Where there are several labels, --label chooses one, and --label all scores each. What becomes of uncertain labels
    and of those that are not stated is set by --set uncertain=ignore, positive or negative and --set blank=ignore or
    negative; an ignored label makes no query, and no result relevant.

    --label classes takes an image for relevant if it is of the query's class, where the labels of a task tell several
    classes apart; images of no class or of several make no query. --by class,view,source,sex,age adds a row for each
    group of queries, and the mean over the classes. --qrels takes grades from a file in place of labels, as trec_eval
    does, and --format qrels writes the grades that other tools need.

    ACG, its positive kin (acg-p-total, acg-p-query, acg-p-union), precision-any and precision-exact compare the labels
    of query and result as sets: all that are stated, or those of --set labels=Edema,Effusion or labels=chexpert-13.

    The 95 % interval of a mean is a bootstrap over patients, which --items knows; else each query counts as one.
    p_random is how often random rankings of the same catalogues do as well. --compare tests the difference of two
    methods by a paired permutation test over patients, with Holm's correction.

    With --raters the other raters are scored as runs are, and standard error says where the mean of each run lies
    between theirs. --rater panel takes the order of all raters' mean ranks for the reference; a rater is compared with
    that of the others. --agreement prints Kendall's tau and W, Spearman's rho, and of severities weighted kappa and
    intraclass correlation, with 95 % intervals over queries; --metrics chooses among them. --conflicts lists the images
    of which a rater and the data set (the runs, or --items) say opposite things.

    A classifier's scores are f1, auroc, auprc, sensitivity@95specificity, false-positive-rate@95sensitivity, and of its
    probabilities ece, ece-mass, ece@10bins and brier; their 95 % intervals draw patients. With --items IDX and --label,
    anomaly-auroc, anomaly-auprc and anomaly-fpr95 say how well the distance from the rest of IDX tells images with the
    label: from the nearest class centre, or with --set score=nearest from the nearest image.

    With --items no run is scored whose queries show patients that the network was trained on, or are answered with
    their own patient (--allow-leaks).
    """
    from cbir_cli import comparisons, repeats
    from cbir_cli.artifacts.files import spooled
    from cbir_cli.cli import asking, rater_tables, score_output
    from cbir_cli.errors import UsageError
    from cbir_cli.stages import evaluate as evaluating
    from cbir_cli.stages import explanations

    files = files or []
    asking.check_one_stdin(*files, items or "", raters or "", split or "", qrels or "")
    chosen = format.value if format else options.table_format(None)
    named = metrics.split(",") if metrics else None
    truth: dict[str, Any] = {"items": items, "raters": raters, "rater": rater, "split": split, "label": label}
    given = {f"--{name}": value for name, value in truth.items()}
    given |= {"--masks": masks, "--metrics": metrics, "--set": settings or None, "--by": by, "--ties": ties}
    given |= {"--qrels": qrels, "--compare": compare, "--over-files": over_files or None, "--spread": spread}
    given |= {"--agreement": agreement or None, "--conflicts": conflicts or None}
    given |= {"--format qrels": chosen == "qrels" or None, "--allow-leaks": allow_leaks or None}
    with spooled(files) as paths:
        if agreement:
            _check("--agreement", given)
            rater_tables.agreement(files, paths, raters or "", items=items, statistics=named or [], format=chosen)
            return
        if conflicts:
            _check("--conflicts", given)
            rater_tables.conflicts(files, paths, raters or "", items=items, rater=rater, label=label, format=chosen)
            return
        if explanations.are_explanations(files, paths):
            _check("explanations", given)
            score_output.explanations(
                explanations.evaluate(
                    files, masks=masks, metrics=named, label=label, settings=settings or [], paths=paths
                ),
                chosen,
            )
            return
        if chosen == "qrels":
            _check("--format qrels", given)
            asking.write_lines(evaluating.qrels_lines(files, **truth, settings=settings or [], paths=paths))
            return
        if spread and (compare or chosen != "table"):
            raise UsageError("--spread: a table of scores alone (--format table) chooses; the rest holds all")
        found = evaluating.evaluate(
            files,
            **truth,
            masks=masks,
            metrics=named,
            by=by,
            ties=ties and ties.value,
            qrels=qrels,
            settings=settings or [],
            allow_leaks=allow_leaks,
            paths=paths,
        )
    if over_files:
        found = repeats.over_files(found)
    if compare:
        score_output.comparisons(comparisons.compare(found, compare), chosen)
    else:
        score_output.scores(found, chosen, spread)


def _check(what: str, given: "Mapping[str, object]") -> None:
    """Refuse options that say nothing of what is asked for, and agreement and conflicts without a table of raters."""
    from cbir_cli.errors import UsageError

    for option, value in given.items():
        if value is not None and option != what and option not in _GO_WITH[what]:
            raise UsageError(f"{option} does not go with {what}")
    if what in ("--agreement", "--conflicts") and given["--raters"] is None:
        raise UsageError(f"{what}: give the raters' table (--raters RANKS)")
