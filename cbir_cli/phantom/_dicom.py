"""DICOM files of invented patients: the same bytes for the same seed, and no clock time anywhere."""

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "phantom.cbir.invalid")
"""What all identifiers are derived from: ``.invalid`` is nobody's domain."""

DX, CT = "1.2.840.10008.5.1.4.1.1.1.1", "1.2.840.10008.5.1.4.1.1.2"
"""Classes of the files: digital radiograph for presentation, CT image."""


def uid(*parts: object) -> str:
    """Return the identifier of a thing that is named by its parts: valid, and always the same one."""
    return f"2.25.{uuid.uuid5(NAMESPACE, '/'.join(map(str, parts))).int}"


def name(*parts: object) -> str:
    """Return a file name of eight letters and digits: files sorted by it are in no order."""
    return uuid.uuid5(NAMESPACE, "/".join(map(str, parts))).hex[:8].upper()


def person(seed: int, patient: int, sex: str, age: int) -> dict[str, Any]:
    """Return the tags that say who: nobody."""
    return {
        "PatientName": f"PHANTOM^SYNTHETIC^{patient:05d}",
        "PatientID": f"PHANTOM{seed}-{patient:05d}",
        "PatientSex": sex,
        "PatientAge": f"{age:03d}Y",
        "PatientBirthDate": "",
        "PatientComments": "Synthetic image of no person. Not for diagnosis.",
    }


def study(seed: int, patient: int, number: int, modality: str, text: str) -> dict[str, Any]:
    """Return the tags of a study and its one series; dates are drawn, a few months apart, in years to come."""
    rng = np.random.default_rng([seed, 90, patient])
    days = int(rng.integers(0, 3000)) + int(rng.integers(20, 200, number + 1).sum())
    date = str(np.datetime64("2100-01-01") + days).replace("-", "")
    time = f"{int(rng.integers(7, 19)):02d}{int(rng.integers(60)):02d}{int(rng.integers(60)):02d}"
    return {
        "StudyInstanceUID": uid(seed, modality, patient, number),
        "SeriesInstanceUID": uid(seed, modality, patient, number, "series"),
        "FrameOfReferenceUID": uid(seed, modality, patient, number, "frame"),
        "StudyID": str(number + 1),
        "SeriesNumber": 1,
        "AccessionNumber": f"P{seed}{patient:05d}{number}",
        "StudyDate": date,
        "SeriesDate": date,
        "AcquisitionDate": date,
        "ContentDate": date,
        "StudyTime": time,
        "ContentTime": time,
        "StudyDescription": text,
        "Modality": modality,
        "Manufacturer": "cbir phantom",
        "ManufacturerModelName": "none: computed",
        "InstitutionName": "Synthetic Hospital",
        "ReferringPhysicianName": "PHANTOM^NOBODY",
        "BurnedInAnnotation": "NO",
    }


def write(path: Path, pixels: NDArray[Any], tags: Mapping[str, Any], kind: str, instance: str, bits: int) -> None:
    """Write one image.

    Parameters
    ----------
    path : Path
    pixels : ndarray (H, W), uint16 or int16
        As they are stored.
    tags : mapping of str to object
        By keyword. ``None`` leaves a tag out.
    kind : str
        Class of the file: `DX` or `CT`.
    instance : str
        Identifier of the image.
    bits : int
        Bits stored.
    """
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian

    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.MediaStorageSOPClassUID = UID(kind)
    data.file_meta.MediaStorageSOPInstanceUID = UID(instance)
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    # Named here, since pydicom would put its own version in.
    data.file_meta.ImplementationClassUID = UID(uid("implementation"))
    data.file_meta.ImplementationVersionName = "CBIR_PHANTOM"
    data.SpecificCharacterSet = "ISO_IR 192"
    data.SOPClassUID, data.SOPInstanceUID = kind, instance
    for key, value in tags.items():
        if value is not None:
            setattr(data, key, value)
    data.Rows, data.Columns = pixels.shape
    data.SamplesPerPixel = 1
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, bits, bits - 1
    data.PixelRepresentation = int(pixels.dtype.kind == "i")
    data.PixelData = np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("<")).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
