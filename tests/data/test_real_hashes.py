"""How often different images look alike to the perceptual hash."""

import numpy as np
import pytest

from cbir_cli import images, phash
from cbir_cli.data import read_source

pytestmark = pytest.mark.real


def test_different_radiographs_of_different_patients_are_not_near(real_data):
    """As the module says: none of 369,623 pairs up to 4, one up to 6."""
    source = read_source(str(real_data / "nih-chest"))
    hashes = phash.parse([phash.of(images.decode(record.path)) for record in source.records])
    _, owner = np.unique([record.patient for record in source.records], return_inverse=True)
    bits = np.bitwise_count(hashes[:, None] ^ hashes[None, :])[np.triu(owner[:, None] != owner[None, :])]
    assert len(bits) == 369_623
    assert [int((bits <= most).sum()) for most in (2, 4, 6, 8)] == [0, 0, 1, 15]
