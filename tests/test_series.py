"""The contract of `Series`, and reading single files."""

import gzip
import lzma
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from made_up import fails

from lmmoe.data import Series, reading, runs

TRAIN = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
TEST = [[7.0, 8.0], [9.0, 10.0]]


def checked(**changes):
    given = {"dataset": "d", "entity": "e", "train": TRAIN, "test": TEST, "labels": [0, 1]}
    return Series.checked(**(given | changes))


def test_runs_by_hand():
    assert runs([0, 1, 1, 0, 0, 1]) == [(1, 3), (5, 6)]
    assert runs([1]) == [(0, 1)]
    assert runs([0, 0]) == []
    assert runs([]) == []


@given(st.lists(st.integers(0, 1), max_size=60))
def test_runs_rebuild_the_vector(bits):
    rebuilt = np.zeros(len(bits), dtype=int)
    spans = runs(bits)
    for start, end in spans:
        assert start < end
        rebuilt[start:end] = 1
    assert rebuilt.tolist() == bits
    assert all(before[1] < after[0] for before, after in zip(spans, spans[1:], strict=False))


def test_checked_keeps_values_and_closes_them():
    series = checked()
    assert series.train.tolist() == TRAIN and series.test.tolist() == TEST
    assert series.train.dtype == np.float64 and series.labels.dtype == np.int8
    assert series.channels == ("channel 1", "channel 2")
    assert series.events == [(1, 2)]
    for array in (series.train, series.test, series.labels):
        with pytest.raises(ValueError):
            array[0] = 1


def test_unlabelled_series_has_no_events():
    assert checked(labels=None).labels is None
    assert checked(labels=None).events == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": [["a", "b"]]}, ["d/e (train): not numbers"]),
        ({"train": [1.0, 2.0]}, ["d/e (train): shape (2,), expected (rows, channels)"]),
        ({"test": np.zeros((0, 2))}, ["d/e (test): shape (0, 2)"]),
        ({"train": np.zeros((3, 0)), "test": np.zeros((2, 0))}, ["d/e (train): shape (3, 0)"]),
        ({"test": np.zeros((2, 3))}, ["d/e (test): 3 channels, but the training half has 2"]),
        ({"test": [[0, 0], [0, np.nan]]}, ["d/e (test), row 1, column 1: nan", "1 such cells"]),
        ({"train": [[0, np.inf], [1, 1]]}, ["row 0, column 1: inf"]),
        ({"train": [[0, -np.inf]], "channels": ("a", "b")}, ["row 0, column 'b': -inf"]),
        ({"channels": ("a",)}, ["d/e (train): 2 columns for 1 channel names"]),
        ({"labels": [0]}, ["d/e (labels): labels of shape (1,) for 2 test rows"]),
        ({"labels": [[0], [1]]}, ["labels of shape (2, 1)"]),
        ({"labels": ["0", "1"]}, ["d/e (labels): labels are text: "]),
        ({"labels": [0, 2]}, ["d/e (labels), row 1: label 2 is neither 0 nor 1"]),
        ({"labels": [np.nan, 1]}, ["row 0: label nan"]),
        ({"labels": [0, 0.5]}, ["row 1: label 0.5"]),
        ({"labels": [0], "files": {"labels": "l.csv"}}, ["l.csv: labels of shape"]),
    ],
)
def test_checked_refuses(changes, message):
    with fails(*message):
        checked(**changes)


def test_id_follows_the_values_only():
    assert re.fullmatch("[0-9a-f]{12}", checked().id)
    assert checked().id == checked(dataset="other", train=np.array(TRAIN, order="F")).id
    others = [
        {"labels": None},
        {"labels": [1, 0]},
        {"test": [[7, 8], [9, 11]]},
        {"train": [*TEST, *TRAIN[:1]]},
        {"train": TRAIN[:2], "test": [TRAIN[2], *TEST], "labels": [0, 0, 1]},
    ]
    assert len({checked().id, *(checked(**other).id for other in others)}) == 6


@pytest.mark.parametrize(("suffix", "opener"), [("", open), (".gz", gzip.open), (".xz", lzma.open)])
def test_read_matrix_plain_and_compressed(tmp_path, suffix, opener):
    path = tmp_path / f"m.txt{suffix}"
    with opener(path, "wt") as file:
        file.write("1,2.5\n-3e2,\n")
    np.testing.assert_array_equal(reading.read_matrix(path), [[1, 2.5], [-300, np.nan]])
    assert reading.find(tmp_path / "m.txt") == path
    assert reading.need(tmp_path / "m.txt") == path
    assert reading.read_text(path).split() == ["1,2.5", "-3e2,"]
    assert reading.first_rows(path, 1) == [["1", "2.5"]]


@settings(max_examples=50, deadline=None)
@given(hnp.arrays(np.float64, hnp.array_shapes(min_dims=2, max_dims=2, max_side=4)))
def test_read_matrix_returns_what_was_written(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("matrix") / "m.txt"
    lines = (",".join(repr(float(cell)) for cell in row) for row in values)
    path.write_text("\n".join(lines))
    np.testing.assert_allclose(reading.read_matrix(path), values, rtol=1e-14)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ["m.txt: the file is empty"]),
        ("\n\n", ["m.txt: the file is empty"]),
        ("1,2\n3,x\n5,y\n", ["m.txt, row 1, column 1: 'x' is not a number (2 such cells)"]),
        ("1,2\n3,4\n5\n", ["m.txt, row 2: rows of unequal length: 1 cells, the first line has 2"]),
        ("1,2\n3\n4,5\n", ["m.txt, row 1: rows of unequal length: 1 cells"]),
        ("1,2\n\n3,4,5\n", ["m.txt, row 1: rows of unequal length: 3 cells"]),
        ("1\n2,3\n", ["m.txt, row 1: rows of unequal length: 2 cells, the first line has 1"]),
        ('1,"2\n3,4\n', ["m.txt", "not comma-separated"]),
        ("1,2020-01-01\n", ["m.txt, row 0, column 1: '2020-01-01' is not a number"]),
    ],
)
def test_read_matrix_refuses(tmp_path, text, message):
    path = tmp_path / "m.txt"
    path.write_text(text)
    with fails(*message):
        reading.read_matrix(path)


@pytest.mark.parametrize("text", ["a,b\n0,2,3\n1,5,6\n", "a,b\n1,2,3,4\n", "a,b,c,d\n1,2,3\n"])
def test_header_of_another_width_is_refused(tmp_path, text):
    # pandas reads the first as row names and pads the last without a word.
    path = tmp_path / "m.csv"
    path.write_text(text)
    with fails("m.csv, row 0: rows of unequal length"):
        reading.read_frame(path)


def test_skipped_lines_are_not_compared(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("junk\na,b\n1,2\n3,\n4\n")
    with fails("row 2: rows of unequal length: 1 cells, the first line has 2"):
        reading.read_frame(path, skiprows=1)


@pytest.mark.parametrize(("suffix", "module"), [(".xz", lzma), (".gz", gzip)])
def test_truncated_archives(tmp_path, suffix, module):
    path = tmp_path / f"m.txt{suffix}"
    noise = np.random.default_rng(0).random((500, 4))
    whole = module.compress("\n".join(",".join(map(str, row)) for row in noise).encode())
    for kept in (len(whole) // 2, len(whole) - 5, 12):
        path.write_bytes(whole[:kept])
        for read in (reading.read_matrix, reading.read_text):
            with fails(f"m.txt{suffix}: cannot be read", "Get it again"):
                read(path)
    path.write_bytes(b"not an archive at all")
    with fails(f"m.txt{suffix}: cannot be read"):
        reading.read_matrix(path)


def test_other_encodings_and_missing_files(tmp_path):
    (tmp_path / "m.csv").write_bytes("größe\n1\n".encode("latin-1"))
    with fails("m.csv: cannot be read"):
        reading.read_frame(tmp_path / "m.csv")
    (tmp_path / "bom.csv").write_text("a,b\n1,2\n", encoding="utf-8-sig")
    assert reading.first_rows(tmp_path / "bom.csv", 2)[0] == ["a", "b"]
    assert list(reading.read_frame(tmp_path / "bom.csv").columns) == ["a", "b"]
    assert reading.find(tmp_path / "none") is None
    for read in (reading.need, reading.read_npy):
        with fails("none", "no such file"):
            read(tmp_path / "none")


def test_read_npy(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.arange(6).reshape(2, 3))
    assert reading.read_npy(path).tolist() == [[0, 1, 2], [3, 4, 5]]
    path.write_bytes(path.read_bytes()[:-3])
    with fails("a.npy: not a readable array"):
        reading.read_npy(path)
    path.write_bytes(b"")
    with fails("a.npy: not a readable array"):
        reading.read_npy(path)


def test_read_npy_never_unpickles(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with fails("a.npy: not a readable array", "allow_pickle=False"):
        reading.read_npy(path)


def test_read_npy_refuses_archives(tmp_path):
    path = tmp_path / "a.npy"
    with path.open("wb") as file:
        np.savez(file, a=np.zeros(2), b=np.zeros(2))
    with fails("a.npy: holds several arrays"):
        reading.read_npy(path)


def test_times_are_not_numbers(tmp_path):
    frame = pd.DataFrame({"when": pd.to_datetime(["2020-01-01"])})
    with fails("f.parquet, column 'when': holds times"):
        reading.to_numbers(frame, tmp_path / "f.parquet")


def test_fill_gaps_by_hand():
    gap = np.nan
    values, holes = reading.fill_gaps(np.array([[gap, 1, gap], [2, gap, gap], [gap, 3, gap]]))
    assert values.tolist() == [[2, 1, 0], [2, 1, 0], [2, 3, 0]]
    assert holes == 6
    whole = np.ones((2, 2))
    assert reading.fill_gaps(whole)[0] is whole


def test_filled_note():
    assert reading.filled_note(0, reading.Path("a.csv")) == ()
    assert reading.filled_note(2, reading.Path("x/a.csv"), "test half") == (
        "a.csv, test half: 2 missing cells filled with the last value",
    )


@pytest.mark.parametrize(
    ("channels", "message"),
    [
        (("b", "a"), "t.csv: the channels of the training half in another order"),
        (("a", "c"), "t.csv: other channels than the training half (lacking ['b'], extra ['c'])"),
    ],
)
def test_check_channels(channels, message):
    reading.check_channels(("a", "b"), ("a", "b"), reading.Path("t.csv"))
    with fails(message):
        reading.check_channels(channels, ("a", "b"), reading.Path("t.csv"))
