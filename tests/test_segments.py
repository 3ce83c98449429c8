"""Runs of ones: two forms of the same."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmmoe.segments import runs, segments


@pytest.mark.parametrize(
    ("bits", "starts", "ends"),
    [
        ([0, 1, 1, 0, 0, 1], [1, 5], [3, 6]),
        ([1, 1, 0, 1], [0, 3], [2, 4]),
        ([1], [0], [1]),
        ([0, 0], [], []),
        ([], [], []),
    ],
)
def test_by_hand(bits, starts, ends):
    for kind in (int, bool, np.uint8, float):
        found = segments(np.array(bits, dtype=kind))
        assert [part.tolist() for part in found] == [starts, ends]
    assert runs(bits) == list(zip(starts, ends, strict=True))


@given(st.lists(st.booleans(), max_size=60))
def test_slices_rebuild_the_vector(bits):
    rebuilt = np.zeros(len(bits), dtype=bool)
    for start, end in runs(bits):
        assert not rebuilt[start:end].any() and (start == 0 or not rebuilt[start - 1])
        rebuilt[start:end] = True
    assert rebuilt.tolist() == bits
    assert all(type(row) is int for run in runs(bits) for row in run)
