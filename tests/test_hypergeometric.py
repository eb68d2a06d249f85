import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from cbir_cli import hypergeometric


@given(st.integers(0, 60), st.integers(0, 60), st.data())
def test_is_scipys(rest, marked, data):
    total = rest + marked or 1
    rest = total - marked
    drawn = data.draw(st.integers(0, total))
    count, likely = hypergeometric.shares(total, marked, drawn)
    theirs = stats.hypergeom.pmf(np.arange(total + 1), total, marked, drawn)
    found = np.zeros(total + 1)
    found[count] = likely
    assert found == pytest.approx(theirs, abs=1e-12)
    assert likely.sum() == pytest.approx(1)


def test_of_many_what_does_not_show_is_left_out():
    count, likely = hypergeometric.shares(1_000_000, 300_000, 10_000)
    assert len(count) < 1000 and likely.sum() == pytest.approx(1)
    assert likely == pytest.approx(stats.hypergeom.pmf(count, 1_000_000, 300_000, 10_000), rel=1e-6, abs=1e-15)
