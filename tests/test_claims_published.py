"""Printed claims: what counts as the printed number, and which printings exclude each other."""

import math

import numpy as np
import pytest

from lmmoe.detectors import detector
from lmmoe.report.claims import design, published
from lmmoe.report.claims.counts import factors
from lmmoe.report.claims.published import Claim, Range, bounded, origin_range, printed_range, rivals

BY_ID = {claim.id: claim for claim in published.claims()}


def claim(value, unit="%", metric="point_f1", kind="measured"):
    return Claim("X", "slides", "LightMMoE", "nowhere", metric, value, unit, kind, "")


def test_there_are_226_claims_and_ids_are_unique():
    assert len(published.claims()) == len(BY_ID) == 226


@pytest.mark.parametrize(
    ("value", "unit", "metric", "half"),
    [
        ("93.41", "%", "point_f1", 0.005),
        ("93.4", "%", "point_f1", 0.05),
        ("90", "%", "point_f1", 0.5),  # a score is printed to its last digit
        ("80", "%", "parameter reduction", 5),  # a round number
        ("84", "%", "window reduction", 0.5),
        ("-75", "% change", "number of experts", 0.5),
        ("-70", "% change", "number of experts", 5),
        ("3081743", "count", "parameters", 0.5),
        ("200000", "count", "parameters", 50_000),
        ("100000000.0", "count", "operations", 50_000_000),
        ("0.0", "points", "point_f1 gain", 0.05),
        ("0.00116", "% per parameter", "point_f1 per parameter", 5e-6),
    ],
)
def test_half_a_printed_digit(value, unit, metric, half):
    assert claim(value, unit, metric).half_digit == pytest.approx(half)


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("A029", -math.inf, 5),  # below
        ("A030", 2000, math.inf),  # above
        ("A033", 80, math.inf),  # at least
        ("A034", -math.inf, 0.3),  # at most
        ("B035", 3, 5),  # "3 to 5"
        ("B047", 50, 70),  # "50-70"
    ],
)
def test_bounds(name, low, high):
    assert bounded(BY_ID[name]) == (low, high) == printed_range(BY_ID[name])
    assert origin_range(BY_ID[name]) == (low, high)


def test_a_plain_number_is_no_bound():
    assert bounded(BY_ID["C001"]) is None
    assert printed_range(BY_ID["C001"]) == pytest.approx((93.405, 93.415))
    assert bounded(BY_ID["A037"]) is None  # -75 is not a range from 0 to 75
    assert BY_ID["B047"].number == 60 and math.isnan(BY_ID["A001"].number)


def test_where_a_printed_number_may_come_from():
    # Rounded, rounded twice (a tenth of a half more), or cut; one that ends in zeros is not cut.
    assert origin_range(claim("93.37")) == pytest.approx((93.3645, 93.38))
    assert origin_range(claim("26", "ratio", "ratio")) == pytest.approx((25.45, 27))
    assert origin_range(claim("60", "ratio", "ratio")) == pytest.approx((54.5, 65.5))
    # A difference of two rounded numbers: a whole digit and the tenth.
    assert origin_range(claim("-0.3", "points", "point_f1 gain")) == pytest.approx((-0.405, -0.195))


def test_ranges():
    one = Range(1, 2)
    assert one.holds(1) and one.holds(2) and not one.holds(2.001) and not one.holds(math.nan)
    assert one.meets(Range(2, 3)) and not one.meets(Range(2.001, 3))
    assert one.widened(0.5) == (0.5, 2.5)
    assert not one.widened(-0.6).holds(1.5)  # turned inside out: nothing is sure to hold


def names(found):
    return [one.id for one in found]


def test_printings_that_exclude_each_other():
    assert names(rivals(BY_ID["C005"])) == ["B005"]  # 74.04 and 76.0
    assert names(rivals(BY_ID["C060"])) == ["A002"]  # 50000 and 200000 parameters
    assert names(rivals(BY_ID["C083"])) == ["B043"]  # 90 ms and below 10 ms
    assert names(rivals(BY_ID["C110"])) == ["C086"]  # 6 and 26 times CAD's training time
    assert names(rivals(BY_ID["C090"])) == ["B064"]


def test_printings_that_agree_in_their_digits():
    assert rivals(BY_ID["C001"]) == []  # 93.41 and 93.4
    assert rivals(BY_ID["B065"]) == []  # -1.3 and -1.37, differences of rounded numbers


def test_forecasts_contradict_nothing_and_an_estimate_no_measurement():
    assert rivals(BY_ID["A018"]) == []  # expected 87, measured 93.4
    assert rivals(BY_ID["C092"]) == [] and rivals(BY_ID["C012"]) == []
    assert rivals(BY_ID["A001"]) == []


def test_the_study_s_results_are_in_percent():
    table = published.results()
    assert len(table) == 560
    assert table.loc[("AMAD", "machine-1-1"), "point_f1"] == pytest.approx(99.8903909)


def test_find_takes_the_same_document_and_prefers_what_is_no_forecast():
    found = published.find(BY_ID["C092"], subject="HMMoE", metric="point_f1", scope="machine-1")
    assert found.id == "C012"  # not C092, the prediction
    assert published.find(BY_ID["A001"], subject="AMAD", metric="point_f1", scope="-") is None


def test_parameters_counted_from_sizes():
    # Totals and LightMMoE's parts as they stand in the description of the study's settings.
    totals = {"LightMMoE": 232_390, "CAD": 465_182, "CAD-as-run": 129_417}
    totals |= {"CAD-FSE23": 1_106_598, "HMMoE": 3_081_743}
    assert {name: design.parts(name).total for name in totals} == totals
    experts, expert, gates, towers = design.parts("LightMMoE")
    assert (experts * expert, gates, towers) == (189_728, 2_496, 40_166)
    assert design.parts("random") is None


@pytest.mark.parametrize("name", ["LightMMoE", "CAD", "CAD-FSE23", "CAD-as-run", "HMMoE"])
def test_totals_are_those_of_the_networks(name):
    rows = np.random.default_rng(0).normal(size=(40, design.CHANNELS))
    made = detector(name, epochs=1).fit(rows)
    assert made.parameters == design.parts(name).total


def test_parts_are_those_of_the_network():
    made = detector("LightMMoE", epochs=1)
    made.fit(np.random.default_rng(0).normal(size=(40, design.CHANNELS)))
    sizes = {"gate": 0, "tower": 0, "head": 0, "rest": 0}
    for name, weights in made.network.named_parameters():
        part = next((key for key in sizes if key in name), "rest")
        sizes[part] += weights.numel()
    counted = design.parts("LightMMoE")
    assert sizes["rest"] == counted.experts * counted.expert
    assert sizes["gate"] == counted.gates
    assert sizes["tower"] + sizes["head"] == counted.towers


def test_factors():
    assert factors("4 x 128^2 x 38 x 64") == [4, 16384, 38, 64]
