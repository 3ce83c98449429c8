"""The whole audit: always 226 reasoned lines, its counts, its page of words and its pictures."""

import math

import numpy as np
import pandas as pd
import pytest
from drawing import drawn
from made_up_claims import ALL, copied, flat, frame, run

from lmmoe.report import claims, runs
from lmmoe.report.claims import published
from lmmoe.report.plots import claims as pictures

ODD = {
    "no rows": pd.DataFrame(),
    "no rows, all columns": runs.ordered(pd.DataFrame()),
    "failed runs": runs.ordered(
        pd.DataFrame([run("LightMMoE", "machine-1-1", math.nan, error="ValueError: no")])
    ),
    "other data": frame(flat("LightMMoE", 50, ["web-1", "machine-4-1"])),
    "one machine, one seed": frame(flat("LightMMoE", 90, ["machine-1-1"], parameters=232_390)),
    "zeros": frame(
        *[
            flat(name, 0, parameters=0, train_seconds=0, score_seconds=0)
            for name in ("LightMMoE", "CAD-as-run", "CAD-FSE23", "MTSMixer", "HMMoE", "random")
        ]
    ),
    "few columns": pd.DataFrame(
        {"dataset": ["smd"], "entity": ["machine-1-1"], "detector": ["HMMoE"], "seed": [0]}
    ).assign(protocol="study", point_f1_pa=0.9),
}


def check(table):
    assert list(table.columns) == [*published.Claim._fields, "measured", "verdict", "why"]
    assert table["id"].tolist() == [claim.id for claim in published.claims()]
    assert len(table) == 226
    assert set(table["verdict"]) <= set(claims.VERDICTS)
    assert (table["why"].str.len() > 10).all() and not table["why"].str.contains("nan").any()
    assert table["measured"].dtype == float
    failed = table["verdict"].isin(["fails", "holds"]) & table["measured"].isna()
    # Without a number of ours only a forecast, or a text, can be judged: by the study's runs.
    assert set(table.loc[failed, "kind"]) <= {"expected", "predicted", "criterion", "statement"}


@pytest.mark.parametrize("name", ODD)
def test_odd_rows_never_stop_it(name):
    table = claims.audit(ODD[name], ablation=ODD[name], efficiency=ODD["few columns"])
    check(table)
    assert claims.counts(table).loc["all"].sum() == 226
    assert claims.in_words(table).count("\n- ") == 17


@pytest.fixture(scope="module")
def audit():
    """On 28 machines that all give exactly the study's own Point F1, and random scores."""
    point = published.results()["point_f1"]
    names = {"LightMMoE": "LightMMoE", "CAD": "CAD-as-run", "HMMoE": "HMMoE", "AMAD": "AMAD"}
    names |= {"MTSExample": "MTSExample", "SmartSimpleAD": "SmartSimpleAD"}
    rows = [
        run(ours, machine, value, train_seconds=1.0)
        for theirs, ours in names.items()
        for machine, value in point[theirs].items()
    ]
    return claims.audit(frame(rows, flat("random", 78, point["CAD"].index)))


def test_the_study_s_own_scores_make_its_point_f1s_hold(audit):
    check(audit)
    chosen = audit[(audit["metric"] == "point_f1") & (audit["kind"] == "measured")]
    chosen = chosen[~chosen["subject"].str.startswith("ablation: ") & (chosen["unit"] == "%")]
    verdicts = chosen.set_index("id")["verdict"]
    # HMMoE's 93.37 is 93.376 cut: to meet the study's own number is enough. CAD's 93.1 is 93.0.
    assert verdicts.drop("C007").eq("holds").all() and len(verdicts) > 20
    assert verdicts["C007"] == "contradicted within the study"
    line = audit.set_index("id").loc["C001"]
    assert "over all 28 of 28 machines, 1 seed, against the printed 93.41" in line["why"]
    assert line["measured"] == pytest.approx(93.41, abs=0.005)


def test_counts_by_hand():
    table = pd.DataFrame(
        {"document": ["b", "a", "b"], "verdict": ["fails", "holds", "fails"]},
    )
    found = claims.counts(table)
    assert list(found.index) == ["b", "a", "all"] and list(found.columns) == list(claims.VERDICTS)
    assert found.to_numpy().tolist() == [[0, 2, 0, 0], [1, 0, 0, 0], [1, 2, 0, 0]]


def test_chance_by_hand():
    values = {"machine-1-1": 10, "machine-1-2": 30, "machine-2-1": 80}
    rows = frame([run("random", name, value) for name, value in values.items()])
    found = claims.chance(rows.drop(columns="point_recall_pa"))
    metrics = ("point_f1", "point_precision", "event_f1_log", "event_f1_squeeze")
    assert found == pytest.approx(dict.fromkeys(metrics, 50))
    assert claims.chance(pd.DataFrame()) == {}


def test_in_words(audit):
    text = claims.in_words(audit)
    total = claims.counts(audit).loc["all"]
    assert text.startswith(f"Of 226 printed claims: {total['holds']} hold, {total['fails']} fail, ")
    numbers = " | ".join(map(str, total))
    assert f"| all | {numbers} |" in text
    assert "- C001 (architecture comparison report): LightMMoE, SMD average, point_f1: " in text
    assert "printed 93.41 %, ours 93.41 %: **holds**." in text
    assert "**Against the L2 norm, which trains nothing**" in text
    for line in text.splitlines():
        if "point_f1: printed" in line or "event_f1" in line:
            assert "Random scores reach" in line


def test_bars_are_as_long_as_the_counts(audit):
    figure = drawn(lambda: pictures.claims_by_document(audit))
    [ax] = figure.axes
    table = claims.counts(audit)
    for bars, verdict in zip(ax.containers, claims.VERDICTS, strict=True):
        assert [bar.get_width() for bar in bars] == table[verdict].tolist()
    assert [label.get_text() for label in ax.get_yticklabels()] == list(table.index)


def test_dots_are_printed_and_measured():
    rows = frame(copied("LightMMoE", ALL, parameters=1), flat("random", 40))
    table = claims.audit(rows)
    figure = drawn(lambda: pictures.printed_against_measured(table, claims.chance(rows)))
    ax = figure.axes[0]
    known = table[(table["metric"] == "point_f1") & (table["unit"] == "%")]
    known = known[known["measured"].notna()]
    dots = np.concatenate([np.asarray(part.get_offsets()) for part in ax.collections])
    expected = np.column_stack([known["value"].astype(float), known["measured"]])
    found, wanted = (points[np.lexsort(points.T)] for points in (dots, expected))
    assert found == pytest.approx(wanted)
    [chance] = [line for line in ax.lines if line.get_linestyle() == "--"]
    assert list(chance.get_ydata()) == pytest.approx([40, 40])


def test_no_adjusted_number_is_drawn_without_random_scores(audit):
    figure = drawn(lambda: pictures.printed_against_measured(audit, {}))
    [ax] = figure.axes
    assert ax.texts[0].get_text().startswith("No F1 of ours with random scores")
    figure = drawn(lambda: pictures.printed_against_measured(audit, {"point_f1": 78.0}))
    assert len(figure.axes) == 1 and figure.axes[0].collections
