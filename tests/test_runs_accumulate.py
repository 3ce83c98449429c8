"""The published table of runs: it only grows, and what was written is read."""

import numpy as np
import pandas as pd
import pytest

from lmmoe.report import evaluation, runs


def lines(count=1, **changes):
    """Rows with every column filled."""
    text = dict.fromkeys(runs.TEXTS, "1e5") | {"detector": "norm", "settings": '{"a": 1}'}
    numbers = {name: 1 / 3 for name in (*evaluation.COLUMNS, *runs.SPENT)}
    row = text | {"seed": 0, "vus_window": 5} | numbers | {"error": np.nan}
    return runs.ordered(pd.DataFrame([row | changes] * count))


def test_no_file_is_no_rows(tmp_path):
    table = runs.read(tmp_path / "none.csv")
    assert len(table) == 0 and list(table.columns) == list(runs.ALL)


def test_what_was_written_is_read(tmp_path):
    path = tmp_path / "new" / "runs.csv"
    rows = lines(entity="01", dataset="NA", error="ValueError: a, \"b\"\nc 'd'")
    runs.accumulate(rows, path)
    back = runs.read(path)
    pd.testing.assert_frame_equal(back, rows, rtol=1e-9, check_dtype=False)
    assert back.loc[0, "key"] == "1e5" and back.loc[0, "settings"] == '{"a": 1}'
    assert back.loc[0, "average_precision"] == pytest.approx(1 / 3, rel=1e-9)


def test_old_rows_stay_and_the_same_run_is_replaced(tmp_path):
    path = tmp_path / "runs.csv"
    runs.accumulate(lines(entity="01"), path)
    runs.accumulate(lines(entity="1"), path)
    runs.accumulate(lines(entity="01", version="newer", data="other", roc_auc=0.5), path)
    table = runs.read(path).set_index("entity")
    assert table.index.tolist() == ["01", "1"]
    assert table.loc["01", ["version", "roc_auc"]].tolist() == ["newer", 0.5]
    assert table.loc["1", "version"] == "1e5"


@pytest.mark.parametrize(
    "changes",
    [
        {"dataset": "x"},
        {"entity": "x"},
        {"detector": "x"},
        {"protocol": "x"},
        {"settings": "{}"},
        {"seed": 1},
        {"vus_window": 6},
    ],
    ids=str,
)
def test_another_run_is_another_row(tmp_path, changes):
    path = tmp_path / "runs.csv"
    runs.accumulate(lines(), path)
    runs.accumulate(lines(**changes), path)
    assert len(runs.read(path)) == 2


def test_the_order_is_stable_and_so_are_the_bytes(tmp_path):
    rows = pd.concat(
        [
            lines(entity=entity, detector=detector, seed=seed)
            for entity in ("m-10", "m-2")
            for seed in (1, 0)
            for detector in ("b", "a")
        ]
    )
    path, other = tmp_path / "one.csv", tmp_path / "two.csv"
    runs.accumulate(rows, path)
    first = path.read_bytes()
    runs.accumulate(rows, path)
    assert path.read_bytes() == first
    for _, part in rows.sample(frac=1, random_state=0).groupby(np.arange(8) % 3):
        runs.accumulate(part, other)
    assert other.read_bytes() == first
    table = runs.read(path)
    order = list(zip(table["detector"], table["seed"], table["entity"], strict=True))
    assert order == sorted(order)


def test_writing_is_all_or_nothing(tmp_path, monkeypatch):
    path = tmp_path / "runs.csv"
    runs.accumulate(lines(), path)
    before = path.read_bytes()

    def fails(self, file, **given):
        file.write_text("key,dat")
        raise OSError("disk full")

    monkeypatch.setattr(pd.DataFrame, "to_csv", fails)
    with pytest.raises(OSError, match="disk full"):
        runs.accumulate(lines(entity="more"), path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["runs.csv"]
