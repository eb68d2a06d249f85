"""Images a second of the decode path against a plain loop, as a ratio measured in one run.

    python benchmarks/decode.py                    synthetic JPEG, 16-bit PNG, DICOM and NIfTI
    python benchmarks/decode.py SOURCE [COUNT]     the first COUNT images of any source

Both sides end with float32 in [0, 1] at 224 x 224. The plain loop is Pillow; for DICOM pydicom's pixel_array with
apply_modality_lut and apply_voi_lut; for NIfTI a volume opened and read anew for each slice. The rates are images a
second of CPU time, of all threads and processes together, so images a second and core, and do not depend on what else
the machine does. Rounds alternate and the ratio is the median over them. With several workers the wall time is told
too. Last come the tags of DICOM files against a loop of dcmread, and how far reduced JPEG decoding is off.
"""

import io
import os
import sys
import tempfile
import time
from pathlib import Path

import nibabel
import numpy as np
import pydicom
from PIL import Image
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from pydicom.uid import (
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
)

from cbir_cli import decoders, dicom
from cbir_cli.data import _dicom_tags, read_source
from cbir_cli.images import InputSpec, decode, grey, resize
from cbir_cli.reading import stream
from cbir_cli.records import Record

SIZE = 224
ROUNDS = 5
WINDOW = (-200.0, 300.0)
SYNTAXES = {"plain": None, "RLE": RLELossless, "JPEG 2000": JPEG2000Lossless, "JPEG": JPEGBaseline8Bit}


def plain(records: list[Record]) -> None:
    for record in records:
        if record.path.suffix == ".dcm":
            resized(of_dicom(record.path))
            continue
        if record.part is not None:
            units = np.asarray(nibabel.as_closest_canonical(nibabel.load(record.path)).dataobj)[:, :, record.part]
            resized((np.clip(units.T[::-1, ::-1], *WINDOW) - WINDOW[0]) / (WINDOW[1] - WINDOW[0]))
            continue
        image = Image.open(record.path)
        if image.mode.startswith("I;16"):
            image = Image.fromarray(np.asarray(image).astype(np.float32) / 65535)
            np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BILINEAR))
        else:
            np.asarray(image.convert("L").resize((SIZE, SIZE), Image.Resampling.BILINEAR), np.float32) / 255


def resized(values: np.ndarray) -> np.ndarray:
    image = Image.fromarray(values.astype(np.float32))
    return np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BILINEAR))


def of_dicom(path: Path) -> np.ndarray:
    data = pydicom.dcmread(path)
    values = apply_voi_lut(apply_modality_lut(data.pixel_array, data), data).astype(np.float32)
    values = (values - values.min()) / (values.max() - values.min())
    return 1 - values if data.PhotometricInterpretation == "MONOCHROME1" else values


def ours(records: list[Record], workers: int) -> None:
    window = WINDOW if records[0].part is not None else None
    for _ in stream(records, InputSpec(SIZE, window=window).load, workers=workers, batch=16):
        pass


def cpu() -> float:
    """CPU seconds of this process and of those that decode for it, which are still running."""
    ticks = 0
    for process in decoders._idle:
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


def seconds(work, *arguments) -> tuple[float, float]:
    start, wall = cpu(), time.perf_counter()
    work(*arguments)
    return cpu() - start, time.perf_counter() - wall


def compare(name: str, records: list[Record]) -> None:
    cores = len(os.sched_getaffinity(0))
    records = records * max(1, round(0.5 / seconds(plain, records)[1]))  # the system counts hundredths of a second
    for workers in sorted({1, cores}):
        ours(records, workers), plain(records)
        pairs = np.array([(seconds(plain, records), seconds(ours, records, workers)) for _ in range(ROUNDS)])
        reference, own = np.median(pairs[:, :, 0], axis=0)
        ratio, wall = np.median(pairs[:, 0] / pairs[:, 1], axis=0)
        rates = f"plain {len(records) / reference:8.1f}  cbir {len(records) / own:8.1f} a CPU second"
        print(f"{name:<26} workers {workers}  {rates}  ratio {ratio:5.2f}  of wall time {wall:5.2f}", flush=True)


def tags(name: str, folder: Path, records: list[Record]) -> None:
    dicom.pydicom()
    ways = (
        lambda: [pydicom.dcmread(r.path) for r in records],
        lambda: [_dicom_tags.read(folder, r.relative) for r in records],
    )
    pairs = np.array([[seconds(way)[0] for way in ways] for _ in range(ROUNDS)])
    plainly, own = len(records) / np.median(pairs, axis=0)
    ratio = np.median(pairs[:, 0] / pairs[:, 1])
    print(f"{name:<26} dcmread {plainly:8.1f}  cbir {own:8.1f} files a CPU second  ratio {ratio:5.2f}", flush=True)


def reduced(path: Path) -> None:
    whole, fast = (resize(grey(decode(path, minimum=minimum)), SIZE) for minimum in (None, SIZE))
    off = 255 * np.abs(whole - fast)
    print(f"reduced JPEG against the whole: mean {off.mean():.2f}, largest {off.max():.2f} of 255 grey levels")


def synthetic(folder: Path, ending: str, shape: tuple[int, int], count: int) -> list[Record]:
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.random((24, 20), dtype=np.float32)).resize(shape[::-1], Image.Resampling.BICUBIC)
    values = np.clip(np.asarray(coarse) + rng.normal(0, 0.02, shape), 0, 1)
    pixels = (values * 65535).astype(np.uint16) if ending == "png" else (values * 255).astype(np.uint8)
    for number in range(count):
        Image.fromarray(pixels).save(folder / f"{number}.{ending.removeprefix('8 ')}")
    return read_source(str(folder)).records


def dicoms(folder: Path, syntax: str | None, shape: tuple[int, int], count: int) -> list[Record]:
    pixels = np.random.default_rng(0).normal(2000, 20, shape) + 900 * np.sin(np.mgrid[: shape[0], : shape[1]][1] / 90)
    data = pydicom.Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = DigitalXRayImageStorageForPresentation
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = "1.2"
    data.Modality, data.PhotometricInterpretation, data.SamplesPerPixel = "DX", "MONOCHROME1", 1
    data.Rows, data.Columns = shape
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
    data.WindowCenter, data.WindowWidth, data.RescaleSlope, data.RescaleIntercept = 2000, 2500, 1, 0
    data.PixelData = np.clip(pixels, 0, 4095).astype("<u2").tobytes()
    data["PixelData"].VR = "OW"
    if syntax == JPEGBaseline8Bit:
        eight, packed = (np.clip(pixels, 0, 4095) / 16).astype(np.uint8), io.BytesIO()
        Image.fromarray(eight).save(packed, "JPEG", quality=90)
        data.BitsAllocated, data.BitsStored, data.HighBit, data.WindowCenter, data.WindowWidth = 8, 8, 7, 125, 156
        data.file_meta.TransferSyntaxUID = syntax
        data.PixelData = pydicom.encaps.encapsulate([packed.getvalue()])
        data["PixelData"].VR = "OB"
    elif syntax:
        data.compress(syntax)
    for number in range(count):
        data.save_as(folder / f"{number}.dcm", enforce_file_format=True)
    return [Record(str(number), folder / f"{number}.dcm", f"{number}.dcm") for number in range(count)]


def slices(folder: Path, ending: str, count: int) -> list[Record]:
    units = np.random.default_rng(0).normal(-300, 300, (256, 256, 60)).astype(np.int16)
    path = folder / f"v{ending}"
    nibabel.save(nibabel.Nifti1Image(units, np.diag([-1.0, -1, 1, 1])), path)
    return [Record(str(part), path, path.name, part=part) for part in range(0, 60, 60 // count)]


def main() -> None:
    if len(sys.argv) > 1:
        records = read_source(sys.argv[1]).records[: int(sys.argv[2]) if len(sys.argv) > 2 else 500]
        compare(f"{len(records)} of {Path(sys.argv[1]).name}", records)
        return
    for ending, shape, count in (
        ("jpg", (390, 320), 200),
        ("jpg", (3000, 2500), 8),
        ("8 png", (3000, 2500), 4),
        ("png", (3000, 2500), 4),
    ):
        with tempfile.TemporaryDirectory() as folder:
            records = synthetic(Path(folder), ending, shape, count)
            compare(f"{ending} {shape[1]}x{shape[0]}", records)
            if ending == "jpg":
                reduced(records[0].path)
    for name, syntax in SYNTAXES.items():
        with tempfile.TemporaryDirectory() as folder:
            compare(f"DICOM {name} 2000x2000", dicoms(Path(folder), syntax, (2000, 2000), 2))
    with tempfile.TemporaryDirectory() as folder:
        records = dicoms(Path(folder), None, (256, 256), 200)
        compare("DICOM plain 256x256", records)
        tags("DICOM tags", Path(folder), records)
    for ending in (".nii", ".nii.gz"):
        with tempfile.TemporaryDirectory() as folder:
            compare(f"slices {ending}", slices(Path(folder), ending, 10))


if __name__ == "__main__":
    main()
