"""What the user names as SOURCE: images, or maps; and what every stage that reads images does with it."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cbir_cli.artifacts import files
from cbir_cli.artifacts.pseudonyms import Pseudonyms
from cbir_cli.distributed import launched
from cbir_cli.errors import SourceError, UsageError
from cbir_cli.records import Flow, Record, images

if TYPE_CHECKING:  # a query of stored vectors reads no image, and starts without what reads them
    from cbir_cli.artifacts.model import Model
    from cbir_cli.artifacts.saliency import Maps
    from cbir_cli.data import Source

log = logging.getLogger("cbir")

UNREADABLE_STATUS = 3


def read_images(
    text: str | None,
    *,
    patient: str | None = None,
    frame: int | None = None,
    null: bool = False,
    flow_follows: bool = False,
    output: str = files.STDIO,
    hide: Pseudonyms,
) -> "Source":
    """Read an image source, or ``$CBIR_DATA`` when none is named, and show its flow table.

    With ``flow_follows`` the caller leaves out more images and shows the table then. No image may be the ``output``.
    ``hide`` makes the stand-ins of names that carry an identifier.

    Raises
    ------
    UsageError
        If neither is given, or an image would be replaced by the output.
    SourceError
        If it holds no image.
    """
    from cbir_cli.data import read_source

    text = text or os.environ.get("CBIR_DATA", "")
    if not text:
        raise UsageError("no images: give SOURCE (a folder, an image, a manifest, READER:ROOT or -), or set CBIR_DATA")
    if text == files.STDIO and launched().together:
        raise UsageError("several processes cannot share standard input: give the paths as a manifest, or a folder")
    source = read_source(text, patient=patient, frame=frame, stdin=sys.stdin.buffer, nul=null, hide=hide)
    if not flow_follows:
        say_flow(source.flow)
    if not source.records:
        raise SourceError(f"{text}: no image is left")
    if output != files.STDIO and os.path.exists(output):
        files.check_output(output, *(record.path for record in source.records))
    return source


def present(source: "Source") -> list[Record]:
    """Return the images of a source that are there, for a command that does not read them; the others are named."""
    from cbir_cli.data._files import drop_missing

    missing = [record.relative for record in source.records if not record.path.is_file()]
    drop_missing(source.flow, missing)
    return [record for record in source.records if record.path.is_file()]


def say_flow(flow: Flow) -> None:
    """Say on standard error how many rows were read, and why others were dropped."""
    for line in flow.lines():
        log.info("%s", line)


def is_hdf5(text: str) -> bool:
    """Say whether a source is an HDF5 artifact rather than images; standard input is only peeked at."""
    if Path(text).is_fifo():
        return True  # as a shell's <(...); images come from no pipe but standard input
    if text == files.STDIO:
        peek = getattr(sys.stdin.buffer, "peek", None)
        return peek is not None and not sys.stdin.isatty() and peek(8)[:8] == b"\x89HDF\r\n\x1a\n"
    return files.is_artifact(Path(text))


@contextmanager
def open_maps(text: str) -> Iterator["Maps"]:
    """Open a maps artifact.

    Raises
    ------
    UsageError
        If several processes are to read one pipe.
    """
    from cbir_cli.artifacts import saliency

    if text == files.STDIO and launched().together:
        raise UsageError("several processes cannot read one pipe: give MAPS as a file")
    with files.open_artifact(text, saliency.KIND) as artifact:
        yield saliency.read(artifact)


def warn_of_other_key(model: "Model", pseudonyms: str) -> None:
    """Warn when the patients of a model and of a table were hidden with different keys, so cannot be matched."""
    if model.split and model.pseudonyms != pseudonyms:
        log.warning(
            "%s: its patients were hidden with another key (or --keep-ids differs), so images that it was trained on "
            "cannot be told; use the same CBIR_KEY",
            model.name,
        )


def status_for(unreadable: dict[str, str], on_error: str) -> int:
    """Return the exit status after some images could not be read."""
    if not unreadable:
        return 0
    log.warning("%s could not be read, as named above", images(len(unreadable)))
    if on_error == "skip":
        return 0
    if launched().together:
        log.warning("the artifact is whole, but torchrun will speak of a failure; with --on-error skip it does not")
    return UNREADABLE_STATUS
