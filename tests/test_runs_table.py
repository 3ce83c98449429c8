"""The table of runs: what is known is taken from it, and it only grows."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from small import failing, series

from lmmoe import evaluation, params, runs


@pytest.fixture
def profile(monkeypatch):
    """Two made-up entities, the norm and random scores, both protocols, two seeds."""
    fleet = {name: series(entity=name, rows=200 + 10 * n) for n, name in enumerate(("a", "01"))}
    monkeypatch.setattr(params.Profile, "load", lambda self, entity: fleet[entity])
    monkeypatch.setattr(params.Profile, "present", property(lambda self: list(fleet)))
    settings = {"MTSExample": {}, "random": {"contamination": 0.2}}
    return params.Profile(detectors=settings, seeds=[0, 1], vus_window=10)


def test_a_table_has_a_row_for_each_run(profile):
    table = runs.table(profile)
    assert list(table.columns) == list(runs.ALL)
    # The norm takes no seed: 2 entities x 2 protocols x (1 + 2).
    assert len(table) == 2 * runs.per_entity(profile) == 12
    seeds = table.groupby("detector")["seed"].unique()
    assert seeds["MTSExample"].tolist() == [0] and seeds["random"].tolist() == [0, 1]
    assert table["key"].is_unique and table["error"].isna().all()
    assert (table["settings"] == '{"contamination": 0.2}').sum() == 8
    part = runs.table(profile, ["01"])
    assert part["entity"].unique().tolist() == ["01"]
    pd.testing.assert_frame_equal(part, table[table["entity"] == "01"].reset_index(drop=True))


def counted(monkeypatch):
    """Count the rows that are made."""
    calls = []
    original = runs.row
    monkeypatch.setattr(
        runs, "row", lambda run, **given: calls.append(run.key) or original(run, **given)
    )
    return calls


def test_known_rows_are_taken_while_they_hold(profile, tmp_path, monkeypatch):
    known = tmp_path / "runs.csv"
    table = runs.table(profile, known=known)
    runs.accumulate(table, known)
    calls = counted(monkeypatch)
    again = runs.table(profile, known=known)
    assert calls == []
    pd.testing.assert_frame_equal(again, table, rtol=1e-9, check_dtype=False)
    runs.table(replace(profile, seeds=[0, 2]), known=known)
    assert len(calls) == 4  # seed 2 of random, on two entities, under two protocols


def test_known_rows_for_several_vus_windows_stand_side_by_side(profile, tmp_path, monkeypatch):
    known = tmp_path / "runs.csv"
    calls = counted(monkeypatch)
    for window in (10, 20, 10, 20):
        table = runs.table(replace(profile, vus_window=window), known=known)
        assert (table["vus_window"] == window).all()
        runs.accumulate(table, known)
    assert len(calls) == 24
    assert len(runs.read(known)) == 24


@pytest.mark.parametrize("column", ["key", "metrics"])
def test_known_rows_of_other_code_are_made_anew(profile, tmp_path, monkeypatch, column):
    known = tmp_path / "runs.csv"
    table = runs.table(profile)
    wrong = table.assign(average_precision=0.123)
    wrong.loc[wrong["entity"] == "a", column] = "1234567890"
    runs.accumulate(wrong, known)
    calls = counted(monkeypatch)
    again = runs.table(profile, known=known)
    assert len(calls) == 6
    by_entity = again.groupby("entity")["average_precision"]
    assert (by_entity.get_group("01") == 0.123).all()
    assert (by_entity.get_group("a") != 0.123).all()
    runs.accumulate(again, known)
    assert len(runs.read(known)) == 12


def test_failed_rows_are_tried_again(profile, tmp_path, monkeypatch):
    known = tmp_path / "runs.csv"
    with monkeypatch.context() as patch:
        failing(patch, ValueError("broken"))
        table = runs.table(profile, known=known)
        runs.accumulate(table, known)
    failed = table["detector"] == "MTSExample"
    assert (table.loc[failed, "error"] == "ValueError: broken").all()
    assert table.loc[~failed, "error"].isna().all()
    calls = counted(monkeypatch)
    table = runs.table(profile, known=known)
    assert len(calls) == 4
    assert table["error"].isna().all()
    runs.accumulate(table, known)
    assert len(runs.read(known)) == 12 and runs.read(known)["error"].isna().all()


# --- accumulating ---


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
    runs.accumulate(lines(entity="01", code="newer", data="other", roc_auc=0.5), path)
    table = runs.read(path).set_index("entity")
    assert table.index.tolist() == ["01", "1"]
    assert table.loc["01", ["code", "roc_auc"]].tolist() == ["newer", 0.5]
    assert table.loc["1", "code"] == "1e5"


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
