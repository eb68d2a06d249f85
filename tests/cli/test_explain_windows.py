"""Explanations of a CT keep Hounsfield units, and their page has windows; from NIfTI and from DICOM."""

import re

import numpy as np
import pytest

from cbir_cli import volumes
from cbir_cli.artifacts import explanation, files


@pytest.fixture(scope="module")
def folder(tmp_path_factory, good):
    place = tmp_path_factory.mktemp("ct")
    for name, source, size in (("nifti", "msd-liver", "32"), ("dicom", "dicom", "32")):
        good("phantom", name, "--kind", "ct", "-n", "2", "--size", size, "--format", name, cwd=place)
        window = ["--image-size", "32", "--set", "window=liver-wide"]
        good("embed", "-m", "ssim", *window, f"{source}:{name}", "-o", f"{name}.h5", cwd=place)
        good("index", f"{name}.h5", "-o", f"{name}.idx.h5", cwd=place)
        good("explain", f"{name}.idx.h5", f"{name}.h5", "-k", "2", "-o", f"{name}.ex.h5", cwd=place)
    return place


@pytest.mark.parametrize("name", ["nifti", "dicom"])
def test_units_are_those_that_the_images_show_through_their_window(folder, name):
    with files.open_artifact(str(folder / f"{name}.ex.h5"), explanation.KIND) as artifact:
        one = explanation.read(artifact)
    assert one.window == (-200.0, 300.0)
    for units, images in ((one.query_hounsfield, one.query_images), (one.result_hounsfield, one.result_images)):
        assert units.dtype == np.int16 and units.shape == images.shape and units.min() < -800
        seen = 255 * (np.clip(units.astype(float), -200, 300) + 200) / 500  # nothing was made smaller
        assert ((units > -150) & (units < 250)).mean() > 0.1 and np.abs(seen - images).max() <= 1


def test_units_of_a_slice(folder):
    with files.open_artifact(str(folder / "nifti.ex.h5"), explanation.KIND) as artifact:
        one = explanation.read(artifact)
    volume, part = re.fullmatch(r"(liver_\d)/(\d+)", str(one.queries.ids[0])).groups()
    whole = volumes.pixels(folder / f"nifti/imagesTr/{volume}.nii.gz", int(part), (-1024.0, 3071.0)) * 4095 - 1024
    np.testing.assert_allclose(one.query_hounsfield[0], np.rint(whole), atol=0.01)


def test_the_page_has_the_windows_of_the_liver_and_others_have_none(good, folder, chain):
    html = good("report", "nifti.ex.h5", cwd=folder).out
    assert re.search(r'id="window" data-seen="\[-200.0, 300.0\]"', html)
    assert "liver-wide, -200 to 300" in html and "liver-narrow, 50 to 150" in html
    images = re.findall(r'<image id="i\d+"[^>]*>', html)
    assert images and all("data-units=" in image for image in images)
    assert 'id="window"' not in good("report", "ex.h5", cwd=chain).out
