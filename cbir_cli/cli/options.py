"""Options that several commands share: one spelling, one meaning, one help text.

==================  ====================================================================
spelling            commands
==================  ====================================================================
``-o --output``     train saliency finetune-ig embed index merge convert explain report
``-m --model``      saliency finetune-ig embed query explain split
``-k``              query explain report
``--task``          train embed split
``--init``          train finetune-ig
``--method``        saliency explain
``--kind``          index phantom
``--epochs``        train finetune-ig
``--device``        train saliency finetune-ig embed query explain
``--batch-size``    train saliency finetune-ig embed explain
``--workers``       train saliency finetune-ig embed
``--threads``       train saliency finetune-ig embed index query explain
``--seed``          train saliency finetune-ig index explain phantom
``--image-size``    train embed
``--format``        saliency embed query evaluate info phantom
``--split``         query explain evaluate
``--where``         query explain
``--exclude-same``  query explain
``--only-same``     query explain
``--max-distance``  query explain
``--diverse``       query explain
``--set``           train saliency finetune-ig embed index query explain evaluate split
``--on-error``      train saliency embed query explain
``--shard``         saliency embed
``--resume``        train saliency finetune-ig embed
``--patient``       train saliency embed query explain split
``--frame``         train saliency embed query explain split
``--keep-ids``      train saliency embed query explain split convert
``-0 --null``       train saliency embed query explain split
``--root``          explain report convert
``--raters``        evaluate report phantom
``--rater``         evaluate report
``--label``         evaluate report split
``--by``            evaluate split
``--allow-leaks``   train index evaluate split
``--items``         evaluate convert
``--uri``           index query
``--collection``    index query
``-q -v --debug``   all (see ``common``)
==================  ====================================================================
"""

import logging
import os
import sys
from enum import StrEnum
from typing import Annotated, Any

import typer

from cbir_cli.errors import UsageError

log = logging.getLogger("cbir")


class Device(StrEnum):
    """Where networks run."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class EngineName(StrEnum):
    """What computes features."""

    auto = "auto"
    onnxruntime = "onnxruntime"
    torch = "torch"


class RunFormat(StrEnum):
    """How a ranked list is printed."""

    tsv = "tsv"
    json = "json"
    trec = "trec"
    table = "table"


class TextFormat(StrEnum):
    """How a description is printed."""

    text = "text"
    json = "json"


class QueryClass(StrEnum):
    """Class of the query images."""

    positive = "positive"
    negative = "negative"
    any = "any"


class OnError(StrEnum):
    """What an image that cannot be read does."""

    report = "report"
    skip = "skip"
    fail = "fail"


class TableFormat(StrEnum):
    """How a table is printed."""

    tsv = "tsv"
    json = "json"
    table = "table"


class Spread(StrEnum):
    """What a table of scores says beside the mean."""

    range = "range"
    sd = "sd"
    ci = "ci"
    box = "box"


class ExcludedSame(StrEnum):
    """What of the query's own is no result."""

    none = "none"
    image = "image"
    study = "study"
    patient = "patient"
    source = "source"


class SameOnly(StrEnum):
    """What of the query's own alone is a result."""

    patient = "patient"
    earlier = "earlier"
    study = "study"
    series = "series"


class ResultOrder(StrEnum):
    """What results are sorted by."""

    distance = "distance"
    position = "position"


Output = Annotated[str, typer.Option("-o", "--output", metavar="FILE", help="Write to FILE; - is standard output.")]
ModelOption = Annotated[
    str | None,
    typer.Option("-m", "--model", metavar="FILE", help="Model artifact; else $CBIR_MODEL, else ./model.h5."),
]
ImageSource = Annotated[
    str | None,
    typer.Argument(
        metavar="SOURCE",
        help="Folder, image, manifest (.csv, .tsv), READER:ROOT, or - for paths on stdin; $CBIR_DATA by default.",
        show_default=False,
    ),
]
SplitFile = Annotated[
    str | None,
    typer.Option("--split", metavar="FILE", help="Split table: rank each query within its own catalogue."),
]
NeighboursOrAll = Annotated[
    int | None,
    typer.Option(
        "-k",
        min=1,
        help="How many results per query; 10 by default, all of the catalogue with --split.",
        show_default=False,
    ),
]
Where = Annotated[
    str | None,
    typer.Option(
        "--where", metavar="EXPR", help="Only images of which this holds, such as \"view == 'PA' and age < 40\"."
    ),
]
ExcludeSame = Annotated[
    ExcludedSame | None,
    typer.Option(
        "--exclude-same",
        help="Leave out what is the query's own, and all that is finer; patient by default.",
        show_default=False,
    ),
]
OnlySame = Annotated[
    SameOnly | None,
    typer.Option(
        "--only-same",
        help="Only what is the query's own: other examinations of the patient, or earlier ones; study; series.",
        show_default=False,
    ),
]
MaxDistance = Annotated[
    float | None, typer.Option("--max-distance", metavar="D", help="Leave out results that are farther.")
]
Diverse = Annotated[
    float | None,
    typer.Option(
        "--diverse",
        metavar="LAMBDA",
        min=0,
        max=1,
        help="Results unlike each other: 1 counts nearness to the query alone, 0 difference alone.",
    ),
]
TrainBatchSize = Annotated[
    int | None, typer.Option("--batch-size", min=2, help="Images a training step; the task's by default.")
]
Neighbours = Annotated[int, typer.Option("-k", min=1, help="How many results per query.")]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Set a parameter; may be repeated. A wrong key lists the right ones."
    ),
]
Epochs = Annotated[int | None, typer.Option(min=0, help="Epochs of training; 0 keeps the initial weights.")]
TaskOption = Annotated[
    str | None,
    typer.Option("--task", metavar="NAME", help="Task, or path of a task file; the model's own by default."),
]
Engine = Annotated[
    EngineName,
    typer.Option("--engine", help="What computes features: ONNX Runtime on CPU and PyTorch on GPU, unless chosen."),
]
DeviceOption = Annotated[Device, typer.Option("--device", help="Where networks run.")]
BatchSize = Annotated[
    int, typer.Option("--batch-size", min=1, help="Images at a time; the result does not depend on it.")
]
Workers = Annotated[int | None, typer.Option("--workers", min=1, help="Threads that decode images.")]
Threads = Annotated[
    int | None, typer.Option("--threads", min=1, help="Threads that compute; all allowed cores by default.")
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of everything random.")]
ImageSize = Annotated[int | None, typer.Option("--image-size", min=16, help="Side of the network's input, in pixels.")]
OnErrorOption = Annotated[
    OnError,
    typer.Option(
        "--on-error", help="Unreadable image: report it and exit 3, skip it and exit 0, or fail at the first."
    ),
]
Shard = Annotated[
    str | None, typer.Option("--shard", metavar="I/N", help="Do only part I of N (from 1); merge joins them.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on where a killed run with the same command line stopped.")]
Patient = Annotated[
    str | None,
    typer.Option(
        "--patient", metavar="REGEX", help="Patient in a file's path: the group 'patient', or the first group."
    ),
]
Frame = Annotated[
    int | None,
    typer.Option(
        "--frame",
        metavar="N",
        min=0,
        help="Of a file with several frames or slices take number N, from 0; each is an image by default.",
        show_default=False,
    ),
]
KeepIds = Annotated[
    bool,
    typer.Option("--keep-ids", help="Store patient identifiers as they are instead of pseudonyms."),
]
Null = Annotated[bool, typer.Option("-0", "--null", help="Paths on standard input end with NUL, as from find -print0.")]
Uri = Annotated[
    str | None,
    typer.Option(
        "--uri",
        metavar="URI",
        help="Engine that holds the vectors: FILE.db or http://HOST:PORT (Milvus), or postgresql://HOST/DATABASE.",
        show_default=False,
    ),
]
Collection = Annotated[
    str | None,
    typer.Option(
        "--collection",
        metavar="NAME",
        help="With --uri: the catalogue's name in the engine; cbir by default.",
        show_default=False,
    ),
]
FormatOption = Annotated[
    TableFormat | None,
    typer.Option("--format", help="How to print; a table on a terminal, TSV elsewhere."),
]


def table_format(chosen: TableFormat | RunFormat | None, output: str = "-") -> str:
    """Return the format to print in: as chosen, else a table on a terminal and TSV elsewhere."""
    return chosen.value if chosen else "table" if output == "-" and sys.stdout.isatty() else "tsv"


def model_path(chosen: str | None) -> str:
    """Return the model to use, and say which unless it was named.

    Raises
    ------
    UsageError
        If none is named and there is none to find.
    """
    if chosen:
        return chosen
    found = os.environ.get("CBIR_MODEL") or ("model.h5" if os.path.exists("model.h5") else "")
    if not found:
        raise UsageError("no model: give -m FILE, set CBIR_MODEL, or have ./model.h5")
    log.info("model: %s", os.path.basename(found) if os.path.isabs(found) else found)
    return found


def network_path(chosen: str | None) -> str:
    """Return the model to use where it must be a network that was trained here.

    Raises
    ------
    UsageError
        If none is named and there is none to find, or a built-in is named.
    """
    from cbir_cli.stages.encoders import BUILT_IN

    path = model_path(chosen)
    if path in BUILT_IN and not os.path.exists(path):
        raise UsageError(f"-m {path}: expected a model that cbir train or finetune-ig made, found a built-in")
    return path


def cores(chosen: int | None) -> int:
    """Return a number of threads: as chosen, else what SLURM or the system allows this process."""
    from cbir_cli.engines import cpu_threads

    return chosen or cpu_threads()


def task_labels(chosen: str | None, stored: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return the names of the labels that the work is about, for each output: of the task chosen, else the model's."""
    from cbir_cli import tasks

    task = tasks.load(chosen) if chosen else tasks.from_dict(stored) if stored else None
    return list(task.names.values()) if task else []


def integers(option: str, text: str) -> list[int]:
    """Parse whole numbers separated by commas.

    Raises
    ------
    UsageError
        If one is not a whole number of at least 0, or is given twice.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise UsageError(f"{option} {text}: expected whole numbers separated by commas")
    numbers = [int(part) for part in parts]
    if len(set(numbers)) < len(numbers):
        raise UsageError(f"{option} {text}: a number is given twice")
    return numbers


def shard_of(text: str | None) -> tuple[int, int]:
    """Parse ``I/N``.

    Returns
    -------
    tuple of int
        I from 1 to N, and N; (1, 1) when no shard is asked for.

    Raises
    ------
    UsageError
        If it is not two numbers with 1 <= I <= N.
    """
    if text is None:
        return 1, 1
    part, slash, parts = text.partition("/")
    if not (slash and part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
        raise UsageError(f"--shard {text}: expected I/N with I from 1 to N, such as 2/8")
    return int(part), int(parts)
