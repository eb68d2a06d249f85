"""``cbir phantom``: write a synthetic labelled data set with known severity."""

from typing import Annotated

import typer

from cbir_cli.cli import options


def run(
    directory: Annotated[
        str, typer.Argument(metavar="DIR", help="New folder for the data set; with --rank, where it is.")
    ],
    kind: Annotated[str, typer.Option("--kind", help="What is imaged.")] = "chest",
    n: Annotated[
        int | None, typer.Option("-n", min=1, help="Images, or volumes of ct.", show_default="400, or 20 volumes")
    ] = None,
    size: Annotated[int, typer.Option("--size", min=32, help="Side of the images in pixels.")] = 256,
    seed: options.Seed = 1,
    findings: Annotated[
        str | None,
        typer.Option(
            "--findings",
            metavar="NAME,...",
            help="Of a chest: effusion, pneumonia, covid, cardiomegaly.",
            show_default="effusion",
        ),
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option(
            "--layout",
            metavar="NAME",
            help="Files and tables. Of chest: as nih, chexpert, mimic or covidx. Of skin: as isic2017, or manifest.",
            show_default="the first",
        ),
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            "--format", metavar="NAME", help="Of chest: png or dicom. Of ct: nifti or dicom.", show_default="the first"
        ),
    ] = None,
    rank: Annotated[
        str | None,
        typer.Option(
            "--rank", metavar="SPLIT", help="Instead, print how simulated raters rank the catalogues of a split table."
        ),
    ] = None,
    raters: Annotated[int, typer.Option("--raters", min=1, help="Simulated raters; the first tells the truth.")] = 3,
) -> None:
    """Write a synthetic labelled data set with known severity.

    The chest set has the layout of NIH ChestX-ray14: pleural effusions of continuous severity, patients with several
    studies, two views, devices and markers, masks, and severity.csv, which tells the hidden truth. The ct set are
    volumes of the abdomen with tumours of the liver, as in the Medical Segmentation Decathlon; the skin set is
    dermoscopy of melanomas, nevi and seborrheic keratoses, as in ISIC 2017.
    """
    import csv
    import sys
    from pathlib import Path

    from cbir_cli import phantom
    from cbir_cli.cli import asking

    if rank is None:
        names = None if findings is None else [name.strip() for name in findings.split(",") if name.strip()]
        phantom.write(
            Path(directory), n=n, kind=kind, size=size, seed=seed, findings=names, layout=layout, format=format
        )
        return
    made = {"-n": n, "--findings": findings, "--layout": layout, "--format": format}
    asking.check_conflicts(*((option, value is not None, "--rank", True) for option, value in made.items()))
    split = sys.stdin if rank == "-" else Path(rank)
    rows = list(phantom.rank(Path(directory), split, raters=raters, seed=seed))
    csv.writer(sys.stdout, lineterminator="\n").writerows([phantom.Rank._fields, *rows])
