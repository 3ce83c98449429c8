"""Which of our runs differ from the study's own by more than the seeds explain."""

import pandas as pd
import pytest
from made_up_claims import ALL, copied, flat, frame

from lmmoe.report import runs, tables
from lmmoe.report.tables import reproduced


@pytest.fixture(autouse=True)
def theirs(made_up_study, monkeypatch):
    """The made-up study's results for the tables as for the claims."""
    from made_up_claims import study

    names = {theirs: ours for ours, theirs in tables.STUDY_METRICS.items()}
    table = study().rename(columns=names)[list(names.values())] / 100
    table.index = table.index.set_names(["detector", "entity"])
    monkeypatch.setattr("lmmoe.report.tables.study.study_results", lambda: table)


def light(plus, seed):
    """LightMMoE, ``plus`` points off the study's Point F1 everywhere."""
    return copied("LightMMoE", ALL, plus=plus, seed=seed)


def found(*groups):
    table = reproduced.beyond(runs.ordered(frame(*groups)))
    return table[table["metric"] == "point_f1_pa"].set_index("detector")


def test_a_difference_within_twice_the_spread_is_none():
    # Of six machines: seeds at 0 and 1 point are .5 off, spread .707 / sqrt 6 = .289; at .9 and 1.1
    # they are 1 off, spread .058.
    assert found(light(0, 0), light(1, 1)).empty
    table = found(light(0.9, 0), light(1.1, 1))
    assert table.loc["LightMMoE", "difference"] == pytest.approx(1)
    assert table.loc["LightMMoE", "spread"] == pytest.approx(0.0577, abs=1e-4)
    assert table.loc["LightMMoE", "spread_of"] == "its own over seeds"


def test_one_seed_takes_lightmmoes_spread_and_no_seed_none():
    rows = (light(-0.1, 0), light(0.1, 1), copied("HMMoE", ALL, plus=-1.0))
    table = found(*rows, copied("MTSExample", ALL, plus=0.02))
    assert table.loc["HMMoE", "difference"] == pytest.approx(-1)
    assert table.loc["HMMoE", "spread_of"].startswith("LightMMoE's")
    assert table.loc["MTSExample", "spread"] == 0  # it draws nothing: any difference counts
    assert "LightMMoE" not in table.index
    assert found(copied("MTSExample", ALL)).empty


def test_without_any_spread_nothing_is_known_to_be_larger():
    assert found(copied("HMMoE", ALL, plus=3)).empty


def test_other_settings_are_another_detector():
    rows = copied("HMMoE", ALL, plus=5, settings='{"epochs": 1}')
    assert found(light(0, 0), light(0.1, 1), rows).empty


def test_random_scores_have_no_partner():
    assert found(flat("random", 50)).empty


def test_words():
    table = pd.DataFrame(
        [
            ["USAD", "point_f1_pa", -14.0, 0.05, "its own over seeds"],
            ["HMMoE", "event_f1_pa_log", -0.82, 0.26, "LightMMoE's"],
        ],
        columns=["detector", "metric", "difference", "spread", "spread_of"],
    )
    text = reproduced.in_words(table).splitlines()
    assert text[2].startswith(
        "- USAD: Point F1 (PA) -14.00 points (spread 0.05); the spread is its"
    )
    assert "one of its two adversaries wins" in text[2]
    assert text[3].endswith("Why: the reason is not known.")
    assert "Nowhere do ours" in reproduced.in_words(table.iloc[:0])
