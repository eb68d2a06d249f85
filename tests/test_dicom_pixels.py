"""DICOM pixels against plain formulas, against the same picture in other formats, and on the files of pydicom."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    DigitalXRayImageStorageForPresentation,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

from cbir_cli import dicom, registry
from cbir_cli.errors import ImageError
from cbir_cli.images import InputSpec, decode
from cbir_cli.reading import content_hash
from cbir_cli.records import Record

FILES = Path(pydicom.__file__).parent / "data"


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture
def make(tmp_path):
    """Write a DICOM file: ``make(pixels, bits=12, WindowCenter=...)``; None leaves an element out."""

    def write(pixels, bits=None, name="a.dcm", syntax=ExplicitVRLittleEndian, compress=None, **tags):
        data = Dataset()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = syntax
        data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = DigitalXRayImageStorageForPresentation
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = "1.2.3.4"
        data.Modality = "DX"
        data.PhotometricInterpretation = "MONOCHROME2" if pixels.ndim == 2 or pixels.shape[-1] != 3 else "RGB"
        colour = pixels.ndim > 2 and pixels.shape[-1] == 3
        data.SamplesPerPixel = 3 if colour else 1
        if colour:
            data.PlanarConfiguration = 0
        data.Rows, data.Columns = pixels.shape[-3:-1] if colour else pixels.shape[-2:]
        if pixels.ndim == (4 if colour else 3):
            data.NumberOfFrames = len(pixels)
        data.BitsAllocated = 8 * pixels.dtype.itemsize
        data.BitsStored = bits or data.BitsAllocated
        data.HighBit = data.BitsStored - 1
        data.PixelRepresentation = int(pixels.dtype.kind == "i")
        order = ">" if syntax == ExplicitVRBigEndian else "<"
        data.PixelData = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
        data["PixelData"].VR = "OW" if pixels.dtype.itemsize > 1 else "OB"
        for key, value in tags.items():
            if value is None:
                delattr(data, key)
            else:
                setattr(data, key, value)
        if compress:
            data.compress(compress)
        data.save_as(tmp_path / name, enforce_file_format=True)
        return tmp_path / name

    return write


def item(**values):
    made = Dataset()
    for key, value in values.items():
        setattr(made, key, value)
    return made


def lut(entries, first, bits):
    made = Dataset()
    made.add_new("LUTDescriptor", "SS" if first < 0 else "US", [len(entries), first, bits])
    made.add_new("LUTData", "US", [int(entry) for entry in entries])
    return Sequence([made])


def refused(path, **options):
    with pytest.raises(ImageError) as caught:
        decode(path, **options)
    text = str(caught.value)
    assert "\n" not in text and text.startswith(path.name)
    return text


# Windows, worked out pixel by pixel from the text of PS3.3 C.11.2


def linear(x, c, w, lowest=0.0, highest=1.0):
    if x <= c - 0.5 - (w - 1) / 2:
        return lowest
    if x > c - 0.5 + (w - 1) / 2:
        return highest
    return ((x - (c - 0.5)) / (w - 1) + 0.5) * (highest - lowest) + lowest


def exact(x, c, w):
    if x <= c - w / 2:
        return 0.0
    return 1.0 if x > c + w / 2 else (x - c) / w + 0.5


def sigmoid(x, c, w):
    return 1 / (1 + np.exp(-4 * (x - c) / w))


FUNCTIONS = {None: linear, "LINEAR": linear, "LINEAR_EXACT": exact, "SIGMOID": sigmoid}


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("slope", [1, 0.684, -0.5])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_window(make, rng, function, slope, photometric):
    stored = rng.integers(0, 4096, (9, 11), dtype=np.uint16)
    tags = {"VOILUTFunction": function} if function else {}
    path = make(
        stored,
        12,
        RescaleSlope=slope,
        RescaleIntercept=200,
        WindowCenter=300 + 1700 * slope,
        WindowWidth=900,
        PhotometricInterpretation=photometric,
        PresentationLUTShape="INVERSE" if photometric == "MONOCHROME1" else "IDENTITY",
        **tags,
    )
    way = FUNCTIONS[function]
    expected = np.vectorize(lambda x: way(x * slope + 200, 300 + 1700 * slope, 900))(stored.astype(float))
    expected = 1 - expected if photometric == "MONOCHROME1" else expected
    found = decode(path)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_window_of_one_and_of_none(make):
    stored = np.arange(8, dtype=np.uint16)[None]
    np.testing.assert_array_equal(decode(make(stored, 12, WindowCenter=4, WindowWidth=1)), [[0, 0, 0, 0, 1, 1, 1, 1]])
    for width in (0, -3, 0.5):
        found = decode(make(stored, 12, WindowCenter=4, WindowWidth=width))
        np.testing.assert_allclose(found, stored / 4095, atol=1e-7)
    assert "VOI LUT function" in refused(make(stored, 12, WindowCenter=4, WindowWidth=2, VOILUTFunction="CUBIC"))


def test_first_of_several_windows_unless_another_is_asked_for(make, rng):
    stored = rng.integers(0, 4096, (5, 5), dtype=np.uint16)
    path = make(stored, 12, WindowCenter=[500, 2000], WindowWidth=[1000, 4000])
    first, second = (np.vectorize(linear)(stored.astype(float), *w) for w in ((500, 1000), (2000, 4000)))
    np.testing.assert_allclose(decode(path), first, atol=1e-6)
    with path.open("rb") as file:
        np.testing.assert_allclose(dicom.pixels(file, voi=1), second, atol=1e-6)
        file.seek(0)
        with pytest.raises(ImageError, match="has no window 2: there are 2"):
            dicom.pixels(file, voi=2)


def test_bits_stored_are_the_scale_where_there_is_no_window(make, rng):
    for bits in (8, 10, 12, 14, 15, 16):
        stored = rng.integers(0, 2**bits, (6, 7), dtype=np.uint16)
        np.testing.assert_allclose(decode(make(stored, bits)), stored / (2**bits - 1), atol=1e-7)
    # An overlay in the bits above is no part of the picture.
    stored = rng.integers(0, 4096, (6, 7), dtype=np.uint16)
    np.testing.assert_allclose(decode(make(stored | 0x8000, 12)), stored / 4095, atol=1e-7)


def test_negative_slope_without_a_window_turns_the_scale(make, rng):
    stored = rng.integers(0, 4096, (6, 7), dtype=np.uint16)
    path = make(stored, 12, RescaleSlope=-1, RescaleIntercept=4095)
    np.testing.assert_allclose(decode(path), (4095 - stored) / 4095, atol=1e-6)


@pytest.mark.parametrize("bits", [8, 12])
@pytest.mark.parametrize("first", [0, 100, -50])
def test_voi_lut(make, bits, first):
    """An 8-bit table of more than 256 entries is what pydicom's own function gets wrong."""
    entries = (np.sqrt(np.linspace(0, 1, 1000)) * (2**bits - 1)).astype(int)
    stored = np.arange(-200, 1200, dtype=np.int16).reshape(35, 40)
    path = make(stored, 16, VOILUTSequence=lut(entries, first, bits), PhotometricInterpretation="MONOCHROME1")
    expected = [[entries[min(max(x - first, 0), 999)] / (2**bits - 1) for x in row] for row in stored.tolist()]
    np.testing.assert_allclose(decode(path), 1 - np.array(expected), atol=1e-6)


def test_voi_lut_goes_before_a_window_and_may_be_bytes(make):
    stored = np.arange(256, dtype=np.uint16).reshape(16, 16)
    sequence = lut(range(0, 4096, 16), 0, 12)
    plain = make(stored, 12, VOILUTSequence=sequence, WindowCenter=10, WindowWidth=5)
    np.testing.assert_allclose(decode(plain), stored * 16 / 4095, atol=1e-6)
    del sequence[0].LUTData
    sequence[0].add_new("LUTData", "OW", np.arange(0, 4096, 16, dtype="<u2").tobytes())
    np.testing.assert_allclose(decode(make(stored, 12, VOILUTSequence=sequence)), stored * 16 / 4095, atol=1e-6)
    sequence[0].LUTDescriptor = [256, 0, 9]
    assert "a LUT of 256 entries of 9 bits" in refused(make(stored, 12, VOILUTSequence=sequence))


def test_modality_lut_then_window(make):
    stored = np.arange(300, dtype=np.uint16).reshape(15, 20)
    entries = [4095 - 16 * i for i in range(256)]
    path = make(stored, 12, ModalityLUTSequence=lut(entries, 0, 12), WindowCenter=2000, WindowWidth=1000)
    expected = [[linear(entries[min(x, 255)], 2000, 1000) for x in row] for row in stored.tolist()]
    np.testing.assert_allclose(decode(path), expected, atol=1e-6)


# Hounsfield units


def test_ct_in_the_models_window(make, rng):
    stored = rng.integers(-1000, 2000, (8, 9), dtype=np.int16)
    tags = {"Modality": "CT", "RescaleSlope": 2, "RescaleIntercept": -24, "WindowCenter": 40, "WindowWidth": 400}
    path = make(stored, 16, **tags)
    units = stored.astype(float) * 2 - 24
    np.testing.assert_allclose(decode(path, window=(-200, 300)), np.clip((units + 200) / 500, 0, 1), atol=1e-6)
    np.testing.assert_allclose(decode(path), np.vectorize(linear)(units, 40, 400), atol=1e-6)
    with path.open("rb") as file:
        np.testing.assert_array_equal(dicom.hounsfield(file), units)
    # What is dense stays bright for the network, whatever the workstation shows.
    turned = make(stored, 16, name="b.dcm", PhotometricInterpretation="MONOCHROME1", **tags)
    np.testing.assert_array_equal(decode(turned, window=(-200, 300)), decode(path, window=(-200, 300)))
    np.testing.assert_allclose(decode(turned), 1 - decode(path), atol=1e-6)


def test_what_has_no_hounsfield_units(make, tmp_path):
    stored = np.zeros((4, 4), np.int16)
    asked = {"window": (0.0, 100.0)}
    assert "modality DX has no Hounsfield units" in refused(make(stored, 16), **asked)
    assert "CT without a rescale" in refused(make(stored, 16, Modality="CT"), **asked)
    other = make(stored, 16, Modality="CT", RescaleSlope=1, RescaleIntercept=0, RescaleType="US")
    assert "rescaled to US" in refused(other, **asked)
    colour = make(np.zeros((4, 4, 3), np.uint8))
    assert "colour pixels have no Hounsfield units" in refused(colour, **asked)
    Image.new("L", (4, 4)).save(tmp_path / "a.png")
    assert "no Hounsfield units" in refused(tmp_path / "a.png", **asked)


@pytest.mark.parametrize("modality", ["CT", "MR", "XA", "RF"])
def test_values_without_a_scale(make, modality):
    assert f"{modality} without a window" in refused(make(np.zeros((4, 4), np.uint16), 16, Modality=modality))


def test_signed_pixels_and_a_slope_of_zero(make):
    assert "signed" in refused(make(np.zeros((4, 4), np.int16), 12))
    path = make(np.zeros((4, 4), np.uint16), 12, RescaleSlope=0, RescaleIntercept=1)
    assert "rescale slope 0" in refused(path)


# Frames


def test_frames(make, rng, monkeypatch):
    stored = rng.integers(0, 4096, (3, 5, 6), dtype=np.uint16)
    for compress, large in ((None, 2**26), (None, 0), (RLELossless, 2**26), (RLELossless, 0)):
        monkeypatch.setattr(dicom, "_LARGE", large)  # of a long file only the frame is read
        path = make(stored, 12, Modality="OT", compress=compress)
        for part in range(3):
            np.testing.assert_allclose(decode(path, part=part), stored[part] / 4095, atol=1e-7)
        assert "holds 3 frames" in refused(path)
        assert "has no frame 3: there are 3" in refused(path, part=3)
    assert len({content_hash(path, part) for part in (None, 0, 1, 2)}) == 4
    assert decode(make(stored[0], 12), part=0).shape == (5, 6)


def test_every_frame_of_enhanced_ct_has_its_own_rescale_and_window(make, rng):
    stored = rng.integers(0, 2000, (2, 5, 6), dtype=np.int16)
    groups = [
        item(
            PixelValueTransformationSequence=Sequence(
                [item(RescaleSlope=slope, RescaleIntercept=-1000, RescaleType="HU")]
            )
        )
        for slope in (1, 2)
    ]
    shared = item(FrameVOILUTSequence=Sequence([item(WindowCenter=100, WindowWidth=500)]))
    path = make(
        stored,
        16,
        Modality="CT",
        SharedFunctionalGroupsSequence=Sequence([shared]),
        PerFrameFunctionalGroupsSequence=Sequence(groups),
    )
    for part, slope in enumerate((1, 2)):
        units = stored[part] * float(slope) - 1000
        np.testing.assert_allclose(decode(path, part=part), np.vectorize(linear)(units, 100, 500), atol=1e-6)
        expected = np.clip((units - 50) / 100, 0, 1)
        np.testing.assert_allclose(decode(path, part=part, window=(50, 150)), expected, atol=1e-6)


# Colour


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("planar", [0, 1])
def test_rgb(make, rng, dtype, planar):
    values = rng.integers(0, np.iinfo(dtype).max + 1, (5, 7, 3), dtype=dtype)
    path = make(values, Modality="XC")
    if planar:
        data = pydicom.dcmread(path)
        data.PlanarConfiguration, data.PixelData = 1, values.transpose(2, 0, 1).tobytes()
        data.save_as(path)
    np.testing.assert_allclose(decode(path), values / np.iinfo(dtype).max, atol=1e-6)


def test_a_grey_network_sees_the_luma(make, rng):
    values = rng.integers(0, 256, (5, 5, 3), dtype=np.uint8)
    path = make(values, Modality="XC")
    found = InputSpec(size=5).load(Record("a", path, "a"))
    np.testing.assert_allclose(found, values @ [0.299, 0.587, 0.114] / 255, atol=1e-6)
    np.testing.assert_allclose(InputSpec(size=5, colour="rgb").load(Record("a", path, "a")), values / 255, atol=1e-6)


def test_ybr_and_palette(make, rng):
    ybr = rng.integers(16, 240, (6, 8, 3), dtype=np.uint8)
    y, cb, cr = (ybr[..., c].astype(float) for c in range(3))
    # PS3.3 C.7.6.3.1.2, inverted by solving for R, G and B.
    matrix = np.array([[0.299, 0.587, 0.114], [-0.1687, -0.3313, 0.5], [0.5, -0.4187, -0.0813]])
    rgb = np.linalg.solve(matrix, np.stack([y, cb - 128, cr - 128]).reshape(3, -1)).T.reshape(6, 8, 3)
    found = decode(make(ybr, Modality="XC", PhotometricInterpretation="YBR_FULL"))
    np.testing.assert_allclose(found, np.clip(rgb, 0, 255) / 255, atol=1.5 / 255)
    stored = rng.integers(0, 256, (6, 8), dtype=np.uint8)
    tables = {c: rng.integers(0, 2**16, 256, dtype=np.uint16) for c in ("Red", "Green", "Blue")}
    tags = {f"{c}PaletteColorLookupTableDescriptor": [256, 0, 16] for c in tables}
    tags |= {f"{c}PaletteColorLookupTableData": table.tobytes() for c, table in tables.items()}
    path = make(stored, Modality="US", PhotometricInterpretation="PALETTE COLOR", **tags)
    expected = np.stack([table[stored] for table in tables.values()], axis=2) / 65535
    np.testing.assert_allclose(decode(path), expected, atol=1e-6)


# What is refused, by name


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"Modality": "MG"}, "modality MG (mammography) is not supported"),
        ({"Modality": "SEG"}, "modality SEG (segmentation) is not supported"),
        ({"Modality": "RTDOSE"}, "modality RTDOSE (radiotherapy) is not supported"),
        ({"Modality": "NM"}, "modality NM (nuclear medicine) is not supported"),
        ({"Modality": "QQ"}, "modality QQ is not supported"),
        ({"Modality": "US", "NumberOfFrames": 1, "Rows": None}, "holds no image"),
        ({"PresentationIntentType": "FOR PROCESSING"}, "raw detector values"),
        ({"PhotometricInterpretation": "ARGB"}, "photometric interpretation ARGB"),
        ({"Rows": 60000, "Columns": 60000}, "too large"),
        ({"Rows": 5000, "Columns": 5000}, "damaged"),
    ],
)
def test_refused(make, tags, reason):
    assert reason in refused(make(np.zeros((4, 4), np.uint16), 12, **tags))


def test_ultrasound_clip(make):
    path = make(np.zeros((3, 4, 4), np.uint8), Modality="US")
    assert "ultrasound clips" in refused(path) and "ultrasound clips" in refused(path, part=1)


@pytest.mark.filterwarnings("ignore")
def test_damage_is_one_line(make, rng):
    path = make(rng.integers(0, 4096, (16, 16), dtype=np.uint16), 12, compress=RLELossless)
    whole = path.read_bytes()
    for keep in (140, 200, 400, len(whole) - 40):
        path.write_bytes(whole[:keep])
        refused(path)
    outcomes = set()
    for trial in range(150):
        raw = bytearray(whole)
        for place in np.random.default_rng(trial).integers(132, len(raw), 3):
            raw[place] ^= 255
        path.write_bytes(raw)
        try:
            pixels = decode(path)
        except ImageError as error:
            assert "\n" not in str(error)
            outcomes.add("refused")
        else:
            assert np.isfinite(pixels).all() and pixels.min() >= 0 and pixels.max() <= 1
            outcomes.add("read")
    assert outcomes == {"read", "refused"}


# The same picture in other formats


@pytest.fixture
def picture():
    """A radiograph-like picture of 12 bits."""
    y, x = np.mgrid[-1:1:96j, -1:1:80j]
    values = np.exp(-(x**2 + y**2)) + 0.1 * np.sin(9 * x) * np.cos(7 * y)
    return np.rint((values - values.min()) / np.ptp(values) * 4095).astype(np.uint16)


def by_gdcm(source, target, syntax):
    """Write a file again in a syntax that pydicom cannot write."""
    import gdcm

    reader = gdcm.ImageReader()
    reader.SetFileName(str(source))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(target))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    assert pydicom.dcmread(target).file_meta.TransferSyntaxUID.is_compressed
    return target


def twins(make, tmp_path, picture):
    """Yield a name, a path and how far its pixels may be off."""
    Image.fromarray(np.rint(picture / 4095 * 255).astype(np.uint8)).save(tmp_path / "8.png")
    yield "PNG of 8 bits", tmp_path / "8.png", 0.51 / 255
    Image.fromarray(np.rint(picture / 4095 * 65535).astype(np.uint16)).save(tmp_path / "16.png")
    yield "PNG of 16 bits", tmp_path / "16.png", 0.51 / 65535
    tight = 1e-6
    eight = np.rint(picture / 4095 * 255).astype(np.uint8)
    yield "8 bits", make(eight, name="8.dcm"), 0.51 / 255
    plain = {"little": ExplicitVRLittleEndian, "implicit": ImplicitVRLittleEndian, "big": ExplicitVRBigEndian}
    for name, syntax in plain.items():
        yield name, make(picture, 12, name=f"{name}.dcm", syntax=syntax), tight
    for name, syntax in {"RLE": RLELossless, "JPEG 2000": JPEG2000Lossless}.items():
        yield name, make(picture, 12, name=f"{name}.dcm", compress=syntax), tight
    for name in ("JPEGLSLossless", "JPEGLosslessProcess14", "JPEGLosslessProcess14_1"):
        yield name, by_gdcm(tmp_path / "little.dcm", tmp_path / f"{name}.dcm", name), tight
    inverse = make(4095 - picture, 12, name="inverse.dcm", PhotometricInterpretation="MONOCHROME1")
    yield "MONOCHROME1", inverse, tight
    packed = make(4095 - picture, 12, name="1.dcm", PhotometricInterpretation="MONOCHROME1", compress=RLELossless)
    yield "MONOCHROME1 in RLE", packed, tight
    window = {"WindowCenter": 2047.5, "WindowWidth": 4095, "VOILUTFunction": "LINEAR_EXACT"}
    yield "window", make(picture, 12, name="window.dcm", **window), tight
    twice = {"RescaleSlope": -1, "RescaleIntercept": 0, "PhotometricInterpretation": "MONOCHROME1"}
    yield "negative slope", make(picture, 12, name="slope.dcm", **twice), tight
    shifted = {"RescaleSlope": 1, "RescaleIntercept": 2048, **window}
    yield "signed", make(picture.astype(np.int16) - 2048, 12, name="signed.dcm", **shifted), tight
    bare = tmp_path / "bare"
    bare.write_bytes((tmp_path / "implicit.dcm").read_bytes())
    data = pydicom.dcmread(bare)
    del data.file_meta
    data.preamble = None
    data.save_as(bare, implicit_vr=True, little_endian=True, enforce_file_format=False)
    assert b"DICM" not in bare.read_bytes()
    yield "without a preamble", bare, tight


def test_one_picture_in_every_form(make, tmp_path, picture):
    expected = picture / 4095
    pixels = {}
    spec = InputSpec(size=64)
    for name, path, tolerance in twins(make, tmp_path, picture):
        found = decode(path)
        assert np.abs(found - expected).max() <= tolerance, name
        pixels[name] = spec.load(Record(name, path, name))
    torch.manual_seed(0)
    model = registry.load("models", "densenet-tiny").build(1).eval()
    with torch.no_grad():
        batch = torch.from_numpy(spec.prepare(np.stack(list(pixels.values()))))
        features = torch.relu(model.features(batch)).mean(dim=(2, 3)).double()
    features /= features.norm(dim=1, keepdim=True)
    cosine = features @ features[0]
    assert len(pixels) >= 16
    assert cosine.min() > 0.999
    # The measure tells: another picture is not so near.
    other = torch.from_numpy(spec.prepare(1 - pixels["PNG of 8 bits"][None]))
    with torch.no_grad():
        far = torch.relu(model.features(other)).mean(dim=(2, 3)).double()[0]
    assert far @ features[0] / far.norm() < 0.999


# The files that come with pydicom


def plain_formula(data, part=None):
    """What the pixels should be, from pydicom's array, in the order of the standard; None where there is no scale."""
    array = data.pixel_array.astype(float)
    array = array if part is None else array[part]
    if data.PhotometricInterpretation == "PALETTE COLOR":
        channels = []
        for name in ("Red", "Green", "Blue"):
            count, first, bits = data[f"{name}PaletteColorLookupTableDescriptor"].value
            raw = data[f"{name}PaletteColorLookupTableData"].value
            table = np.frombuffer(raw, "<u2" if len(raw) >= 2 * count else "u1")
            channels.append(table[np.clip(array.astype(int) - first, 0, count - 1)] / (2**bits - 1))
        return np.stack(channels, axis=-1)
    if data.SamplesPerPixel == 3:
        return array / (2**data.BitsStored - 1)
    values = array * float(data.get("RescaleSlope", 1)) + float(data.get("RescaleIntercept", 0))
    if "WindowCenter" in data:
        centre, width = (np.ravel(np.array(data[n].value, float))[0] for n in ("WindowCenter", "WindowWidth"))
        values = np.clip((values - (centre - 0.5)) / (width - 1) + 0.5, 0, 1)
    elif data.get("Modality") in ("CT", "MR") or data.PixelRepresentation:
        return None
    else:
        values = values / (2**data.BitsStored - 1)
    return 1 - values if data.PhotometricInterpretation == "MONOCHROME1" else values


REFUSED = re.compile(
    "modality (MG|NM|SEG|SR|RT[A-Z]+|ECG|PR) .*not supported|holds no image|ultrasound clips|CT without a window|"
    "MR without a window|signed pixels|damaged image"
)
BUNDLED = sorted(path for path in FILES.rglob("*") if path.is_file() and dicom.is_dicom(path.read_bytes()[:132]))


def test_there_are_bundled_files():
    assert len(BUNDLED) > 120


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", BUNDLED, ids=lambda path: path.name)
def test_bundled_file_is_right_or_refused(path):
    try:
        found, part = decode(path), None
    except ImageError as error:
        assert "\n" not in str(error) and str(error).startswith(path.name)
        if "frames" not in str(error):
            assert REFUSED.search(str(error)), error
            return
        found, part = decode(path, part=1), 1
    data = pydicom.dcmread(path, force=True)
    expected = plain_formula(data, part)
    assert expected is not None
    assert found.dtype == np.float32 and 0 <= found.min() <= found.max() <= 1
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_nothing_is_said_on_the_way(tmp_path):
    """Not by pydicom, not by GDCM; and a folder called dl in the working directory is no module."""
    (tmp_path / "dl").mkdir()
    (tmp_path / "dl" / "__init__.py").touch()
    names = ["SC_rgb_jpeg.dcm", "MR_small_padded.dcm", "JPEGLSNearLossless_16.dcm", "SC_rgb_jpeg_gdcm.dcm"]
    paths = [str(FILES / "test_files" / name) for name in names]
    code = f"from cbir_cli.images import decode\nfor path in {paths}: print(decode(path).shape)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stderr == "" and done.stdout.count("\n") == len(names)
