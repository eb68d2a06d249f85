"""Images a second of the decode path against a plain loop, as a ratio measured in one run.

    python benchmarks/decode.py                    synthetic JPEG, 16-bit PNG, DICOM and NIfTI
    python benchmarks/decode.py SOURCE [COUNT]     the first COUNT images of any source

Both sides end with float32 in [0, 1] at 224 x 224. The plain loop is Pillow; for DICOM pydicom's pixel_array with
apply_modality_lut and apply_voi_lut; for NIfTI a volume opened and read anew for each slice. Rounds alternate, so that
a busy machine slows both; the ratio is the median over the rounds. The plain loop has one thread and no read-ahead,
which is what most scripts do.
"""

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
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from cbir_cli.data import read_source
from cbir_cli.images import InputSpec, stream
from cbir_cli.records import Record

SIZE = 224
ROUNDS = 5
WINDOW = (-200.0, 300.0)
SYNTAXES = {"plain": None, "RLE": RLELossless, "JPEG 2000": JPEG2000Lossless}


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


def seconds(work, *arguments) -> float:
    start = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - start


def compare(name: str, records: list[Record]) -> None:
    cores = len(os.sched_getaffinity(0))
    ours(records[:2], 1), plain(records[:2])
    for workers in sorted({0, 1, cores}):
        pairs = [(seconds(plain, records), seconds(ours, records, workers)) for _ in range(ROUNDS)]
        reference, own = np.median(pairs, axis=0)
        ratio = np.median([a / b for a, b in pairs])
        rates = f"plain {len(records) / reference:8.1f}/s  cbir {len(records) / own:8.1f}/s"
        print(f"{name:<24} workers {workers}  {rates}  ratio {ratio:5.2f}", flush=True)


def synthetic(folder: Path, ending: str, shape: tuple[int, int], count: int) -> list[Record]:
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.random((24, 20), dtype=np.float32)).resize(shape[::-1], Image.Resampling.BICUBIC)
    values = np.clip(np.asarray(coarse) + rng.normal(0, 0.02, shape), 0, 1)
    pixels = (values * 65535).astype(np.uint16) if ending == "png" else (values * 255).astype(np.uint8)
    for number in range(count):
        Image.fromarray(pixels).save(folder / f"{number}.{ending}")
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
    if syntax:
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
    for ending, shape, count in (("jpg", (390, 320), 200), ("jpg", (3000, 2500), 8), ("png", (3000, 2500), 4)):
        with tempfile.TemporaryDirectory() as folder:
            compare(f"{count} {ending} {shape[1]}x{shape[0]}", synthetic(Path(folder), ending, shape, count))
    for name, syntax in SYNTAXES.items():
        with tempfile.TemporaryDirectory() as folder:
            compare(f"2 DICOM {name} 2000x2000", dicoms(Path(folder), syntax, (2000, 2000), 2))
    with tempfile.TemporaryDirectory() as folder:
        compare("40 DICOM plain 256x256", dicoms(Path(folder), None, (256, 256), 40))
    for ending in (".nii", ".nii.gz"):
        with tempfile.TemporaryDirectory() as folder:
            compare(f"10 slices {ending}", slices(Path(folder), ending, 10))


if __name__ == "__main__":
    main()
