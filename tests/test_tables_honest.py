"""The main table and the table of differences: by hand, with gaps, and for a whole fleet."""

import math

import pandas as pd
import pytest
from made_up_fleet import QUALITY, fleet
from made_up_rows import ROWS, frame, light, line

from lmmoe.report import tables
from lmmoe.report.evaluation import ADJUSTED, COLUMNS
from lmmoe.report.statistics import bootstrap_mean, holm, wilcoxon_p

SIX = [f"m-{n}" for n in range(6)]


def of(detector, values, **others):
    return [line(detector, name, v, **others) for name, v in zip(SIX, values, strict=False)]


# --- the main table ---


def test_honest_by_hand():
    table = tables.honest(ROWS)
    assert list(table.index) == ["LightMMoE", "random"]
    assert list(table.columns) == [*tables.HONEST, "entities", "seeds", "failed"]
    first = table.loc["LightMMoE"]
    assert first["average_precision"] == first["pot_f1"] == pytest.approx(1.7 / 3)
    # Of 27 resamples of .3, .5, .9 one is all .3 and one all .9, 3.7 % each.
    assert first["average_precision_low"] == pytest.approx(0.3)
    assert first["average_precision_high"] == pytest.approx(0.9)
    assert first[["entities", "seeds", "failed"]].tolist() == [3, 2, 1]
    assert table.loc["random", ["entities", "seeds", "failed"]].tolist() == [3, 1, 0]
    assert first["microseconds_per_row"] == pytest.approx(100)  # .1 s for 1000 rows


def test_honest_ends_with_what_is_adjusted_most():
    assert tables.HONEST[-1] == "point_f1_pa"
    assert set(tables.HONEST) - set(COLUMNS) == {
        *("average_precision_low", "average_precision_high"),
        *("parameters", "train_seconds", "microseconds_per_row"),
    }


@pytest.mark.parametrize(
    "rows",
    [
        frame(*light()),
        frame(*light(), line("random", "machine-1-1", None)),
        frame(*light(), line("random", "machine-1-1", 0.1, protocol="study")),
    ],
    ids=["not run", "failed", "other protocol"],
)
def test_nothing_adjusted_is_shown_without_random_scores(rows):
    table = tables.honest(rows)
    assert not set(table) & set(ADJUSTED)
    assert list(table)[:4] == list(tables.HONEST[:4])
    assert set(tables.honest(ROWS)) & set(ADJUSTED) == {
        *("pa_k_area", "point_f1_pa", "event_f1_pa_squeeze", "delay10_f1_pa")
    }


def test_honest_of_a_fleet_is_sorted_and_counts_what_is_behind_it():
    rows = fleet(entities=7)
    table = tables.honest(rows)
    assert set(table.index) == set(QUALITY)
    assert table["average_precision"].is_monotonic_decreasing
    assert (table["average_precision_low"] < table["average_precision"]).all()
    assert (table["average_precision_high"] > table["average_precision"]).all()
    assert table.loc["AMAD", ["entities", "seeds"]].tolist() == [5, 3]
    assert table.loc["PCA", ["entities", "seeds"]].tolist() == [7, 1]
    assert table.loc["1-NN", "microseconds_per_row"] == pytest.approx(900)


def test_one_entity_has_no_interval_and_unlabelled_ones_no_metrics():
    one = tables.honest(frame(line("a", "x", 0.5), line("random", "x", 0.1))).loc["a"]
    assert one["average_precision"] == 0.5 and math.isnan(one["average_precision_low"])
    rows = frame(line("a", "x", math.nan), line("a", "y", math.nan))
    assert tables.honest(rows).loc["a", ["entities", "train_seconds"]].tolist() == [2, 1.0]
    # Where some entities have labels, only those are behind the numbers.
    rows = frame(line("a", "x", math.nan), line("a", "y", 0.5))
    assert tables.honest(rows).loc["a", "entities"] == 1


def test_a_readable_main_table_keeps_its_order():
    table = tables.readable(tables.honest(ROWS))
    assert list(table)[:4] == ["average precision", "from", "to", "VUS-PR"]
    assert list(table)[-4:] == ["Point F1 (PA)", "entities", "seeds", "failed"]
    assert len(set(table)) == len(tables.HONEST) + 3  # every column has a title of its own


# --- differences ---


def test_significance_by_hand():
    base = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    rows = frame(
        *of("MTSExample", base),
        *of("up", [b + 0.1 * (n + 1) / 6 for n, b in enumerate(base)]),
        # Two seeds, whose mean is what counts: +.1, -.1, 0 and then three that are missing.
        *of("mixed", [0.1, 0.0, 0.3, None, None, None]),
        *of("mixed", [0.3, 0.2, 0.3, None, None, None], seed=1),
        *of("never", [None] * 6),
    )
    table = tables.significance(rows, "average_precision")
    assert list(table.index.unique("reference")) == ["MTSExample"]  # PCA was not run
    up = table.loc[("MTSExample", "up")]
    assert up["difference"] == pytest.approx(0.1 * 21 / 36)
    assert up[["entities", "wins", "ties", "losses"]].tolist() == [6, 6, 0, 0]
    assert up["p"] == pytest.approx(2 / 64)
    assert up["holm_p"] == pytest.approx(4 / 64)  # two comparisons have a p
    assert up[["seeds", "reference_seeds"]].tolist() == [1, 1]
    mixed = table.loc[("MTSExample", "mixed")]
    assert mixed[["entities", "wins", "ties", "losses"]].tolist() == [3, 1, 1, 1]
    assert mixed["difference"] == pytest.approx(0, abs=1e-9)
    assert mixed["p"] == mixed["holm_p"] == 1 and mixed["seeds"] == 2
    never = table.loc[("MTSExample", "never")]
    assert never["entities"] == 0 and never[["difference", "p", "holm_p"]].isna().all()


def test_significance_against_the_parts_it_is_made_of():
    rows = fleet(entities=8)
    table = tables.significance(rows, "vus_pr")
    wide = tables.by_entity(rows, "ours", "vus_pr")
    for (reference, detector), found in table.iterrows():
        difference = (wide[detector] - wide[reference]).dropna()
        assert found["p"] == pytest.approx(wilcoxon_p(difference))
        assert found["difference"] == pytest.approx(difference.mean())
        bounds = bootstrap_mean(difference)
        assert (found["low"], found["high"]) == pytest.approx((bounds.low, bounds.high))
        assert found["entities"] == len(difference) == (5 if detector == "AMAD" else 8)
    assert table["holm_p"].tolist() == pytest.approx(holm(table["p"]).tolist())
    # 27 against MTSExample and 26 against PCA: the two references meet once.
    assert table.groupby("reference").size().to_dict() == {"MTSExample": 27, "PCA": 26}
    assert ("MTSExample", "PCA") in table.index and ("PCA", "MTSExample") not in table.index


def test_fewer_is_better_where_it_is():
    rows = frame(*of("MTSExample", [3.0, 3.0]), *of("a", [1.0, 4.0]))
    worse = tables.significance(rows, "budget_false_alarms_per_day").loc[("MTSExample", "a")]
    assert worse["difference"] == -0.5 and worse[["wins", "losses"]].tolist() == [1, 1]
    best = tables.by_entity(frame(*of("a", [4.0]), *of("b", [1.0])), "ours", "budget_delay")
    assert list(best) == ["b", "a"]


def test_significance_takes_the_protocol_and_the_references_asked_for():
    rows = frame(*of("a", [0.1] * 6), *of("b", [0.9] * 6), *of("a", [0.5] * 6, protocol="study"))
    table = tables.significance(rows, references=["a"])
    assert list(table.index) == [("a", "b")] and table["wins"].tolist() == [6]
    assert tables.significance(rows, protocol="study", references=["a"]).empty
    none = tables.significance(rows)
    assert none.empty and list(none) == list(table)


def test_a_tiny_p_does_not_read_as_zero():
    rows = frame(*of("MTSExample", [0.1] * 6), *of("a", [0.2] * 6), *of("b", [None] * 6))
    table = tables.significance(rows).assign(p=[1e-9, 0.0312])
    assert tables.readable(table)["p"].tolist() == ["< 0.001", "0.031"]
    assert tables.readable(table)["p (Holm)"].tolist() == ["0.031", ""]


# --- the counts, and the handful ---


def test_every_table_says_what_is_behind_it():
    assert tables.summary(ROWS, "ours").loc["LightMMoE", ["entities", "seeds"]].tolist() == [3, 2]
    head = tables.study_headline(ROWS)
    assert head.loc["LightMMoE", ["entities", "seeds"]].tolist() == [3, 2]
    failed = tables.summary(frame(line("a", "x", None)), "ours").loc["a"]
    assert failed[["entities", "seeds", "failed"]].tolist() == [0, 0, 1]


def test_a_handful_for_a_picture():
    rows = fleet(entities=4)
    names = tables.handful(rows)
    best = list(tables.summary(rows, "ours").index[:3])
    assert names == [*best, "LightMMoE", "random"]
    assert tables.handful(ROWS, top=1) == ["LightMMoE", "random"]
    assert tables.handful(frame(line("a", "x", None), line("b", "x", 0.2))) == ["b"]


def test_who_has_further_seeds_on_some_entities_is_named():
    some = [line("a", entity, 0.5, seed=seed) for entity, seed in (("x", 0), ("x", 1), ("y", 0))]
    others = [line("b", "x", 0.5), line("b", "y", 0.5), line("a", "y", None, seed=1)]
    text = tables.seeds_in_words(frame(*some, *others))
    assert text == "Further seeds on some entities only: a (2 seeds on 1 of 2)."
    assert tables.seeds_in_words(frame(*others)) == ""


def test_an_example_for_a_picture():
    def ran(name, entity, events):
        return line(name, entity, 0.5, found_events=events)

    few = ran("a", "one", "1"), ran("b", "one", "0"), ran("a", "six", "110011")
    assert tables.example(frame(*few), ["a", "b"]) == "one"  # where both ran
    both = *few, ran("b", "six", ""), ran("a", "seven", "1111111"), ran("b", "seven", "")
    assert tables.example(frame(*both), ["a", "b"]) == "six"  # the first with five
    assert tables.example(frame(*both), ["a", "b"], enough=9) == "seven"
    assert tables.example(frame(line("a", "x", 0.1)), ["a"]) == "x"  # nothing is labelled


def test_cad_as_run_stands_beside_what_the_study_called_cad():
    names = ("CAD", "CAD-as-run", "CAD-FSE23")
    rows = frame(*(line(name, "machine-1-1", 0.5, protocol="study") for name in names))
    table = tables.by_machine(rows).set_index("detector")
    assert list(table.index) == ["CAD", "CAD-as-run"]
    theirs = tables.study_results().loc[("CAD", "machine-1-1"), "point_f1_pa"]
    assert table["point_f1_pa_study"].tolist() == [theirs, theirs]
    assert isinstance(theirs, float) and not pd.isna(theirs)
