"""What the README says of measured speed."""

import json

import pytest

from lmmoe.errors import DataError
from lmmoe.report.tables import speed


def spread(median):
    return {"low": median / 2, "median": median, "high": 2 * median, "turns": 7}


def write(folder, *rows):
    environment = {"processor": "P", "cores": 2, "versions": {"torch": "1.0"}}
    told = {"program": "training", "environment": environment, "rows": rows}
    (folder / "training.json").write_text(json.dumps(told))


def row(**changes):
    given = {"what": "a step", "threads": 1, "unit": "s", "yardstick": "theirs", "reached": True}
    given |= {"ours": spread(0.12345), "compared": spread(4.0), "bound": ["at least", 3.0]}
    return given | changes


def test_only_rows_with_a_target_are_told_and_misses_stand_out(tmp_path):
    missed = row(ours=spread(77_897.3), unit="rows/s", reached=False, threads=2)
    write(tmp_path, row(), row(bound=None), missed)
    head, first, second = speed.targets(tmp_path)
    assert first == [
        "training",
        "a step",
        "1",
        "0.123 s",
        "theirs",
        "4 (2 to 8)",
        "at least 3",
        "yes",
    ]
    assert second[2:4] == ["2", "77,897 rows/s"] and second[-1] == "**no**"
    assert len(head) == len(first)
    assert speed.where(tmp_path) == "P, 2 cores, torch 1.0."


def test_the_soak_is_told_where_there_was_one(tmp_path):
    write(tmp_path, row())
    soak = {"seconds": 3600.2, "rows": 1_234_567, "memory_mb": [300.4, 302.6, 301.0]}
    told = {"soak": soak | {"growth_mb": 0.51}, "fuzz": {"lines": 100_000}}
    (tmp_path / "soak.json").write_text(json.dumps(told))
    text = speed.where(tmp_path)
    assert "for 60 minutes took 1,234,567" in text and "100,000 lines" in text
    assert "from 300 to at most 303 MB (growth 0.5)" in text
    assert len(speed.targets(tmp_path)) == 2


def test_nothing_measured_is_said_with_what_to_do(tmp_path):
    with pytest.raises(DataError, match="no measurements.*python -m benchmarks --out"):
        speed.targets(tmp_path)
