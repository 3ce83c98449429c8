"""The audit of the study's claims: verdicts forced by numbers worked out by hand."""

import math

import numpy as np
import pandas as pd
import pytest
from made_up_claims import ALL, HIGH, LOW, Judged, copied, flat, frame, run, runs, study, use

from lmmoe import paths
from lmmoe.report import claims
from lmmoe.report import study as studies

REPRODUCED, BETTER, WORSE, CONTRADICTED, UNTESTABLE = claims.VERDICTS
SMD = paths.figures("smd")  # of the repository: a test below has other figures
made_up = pytest.mark.usefixtures("made_up_study")


@pytest.fixture(scope="module")
def audit():
    """The audit of the published tables."""
    return claims.audit().set_index("id")


def test_every_line_can_be_read_and_the_printed_number_counts_as_itself():
    found = studies.printed()
    assert len(found) == 226 and found.index.is_unique
    for name, claim in found.iterrows():
        stated = claim["query"].startswith("stated: ")
        assert not stated or claim["query"].removeprefix("stated: ") in claims.VERDICTS
        assert claim["reason"] and claim["better"] in ("higher", "lower", "")
        # What is tested on both sides needs a better one.
        assert stated or claim["test"] == "none" or claim["better"]
        if not (stated or claim["test"] or claim["unit"] == "text"):
            assert claim["low"] <= claim["number"] <= claim["high"], name


def test_published_verdicts_are_those_of_the_published_tables(audit):
    published = pd.read_csv(SMD / "claims.csv", keep_default_na=False).set_index("id")
    assert published["verdict"].to_dict() == audit["verdict"].to_dict()
    measured = pd.to_numeric(published["measured"])
    pd.testing.assert_series_equal(measured, audit["measured"], rtol=1e-6, check_dtype=False)
    assert not audit["reason"].str.contains(r"nan|unknown|[{}]").any()
    assert audit["verdict"].value_counts().reindex(claims.VERDICTS).min() > 10
    parts = {"C060": (4, 116), "C057": (3, 113), "C063": (8, 119)}
    for whole, (experts, first) in parts.items():  # counted parts add up to what networks learned
        expert, gates, towers = audit.loc[[f"C{first + n}" for n in range(3)], "measured"]
        assert experts * expert + gates + towers == audit.loc[whole, "measured"]


@made_up
def test_arithmetic_over_quoted_names_and_printed_numbers():
    values = pd.DataFrame({"a b": 6.0, "c": [2.0, 3.0]})
    assert claims.calculate("2 * (`a b` - 1) / `c` ** 2", values).tolist() == [2.5, 10 / 9]
    assert claims.calculate("-C055 + 1", values) == -175
    # Spreads of parts add up as independent ones: twice a spread of .1 in points each of one
    # machine is .1 / sqrt 6 of the average of six.
    light = [flat("LightMMoE", v, seed=s) for s, v in enumerate((90.0, 90.2))]
    other = [flat("HMMoE", v, seed=s) for s, v in enumerate((90.0, 90.6))]
    evidence = claims.Evidence(rows=frame(*light, *other))
    found = evidence.find("`point_f1 LightMMoE` - 2 * `point_f1 HMMoE`", frozenset(ALL)).ours
    one, two = 0.2 / math.sqrt(2 * 6), 0.6 / math.sqrt(2 * 6)
    assert found.value == pytest.approx(90.1 - 2 * 90.3)
    assert found.spread == pytest.approx(math.hypot(one, 2 * two))


@made_up
def test_the_average_is_of_group_means_seeds_first():
    rows = frame(
        runs("a", {"machine-1-1": 10, "machine-1-2": 45, "machine-2-1": 80}, seed=0),
        runs("a", {"machine-1-1": 20, "machine-1-2": math.nan}, seed=1),
    )
    bad = [run("a", name, 99) for name in ALL]
    others = [{"protocol": "ours"}, {"dataset": "mine"}, {"settings": '{"x": 1}'}]
    rows = pd.concat([rows, *(frame([line | other for line in bad]) for other in others)])
    found = studies.Runs(rows).average("a", "point_f1_pa", ALL)
    assert found.value == pytest.approx(((15 + 45) / 2 + 80) / 2)
    assert found.machines == {"machine-1-1", "machine-1-2", "machine-2-1"}
    # Only machine-1-1 has both seeds: a variance of 50, which counts for the others too.
    assert found.spread == pytest.approx(math.sqrt(50 * (2 / 16 + 1 / 4)))
    assert studies.group_average(study().loc["LightMMoE", "point_f1_pa"]) == pytest.approx(93.41)
    # The spread is what averages do from seed to seed.
    index = ["machine-1-1", "machine-1-2", "machine-2-1"]
    normal = pd.DataFrame(np.random.default_rng(0).normal(size=(3, 20_000)), index=index)
    averages = [studies.group_average(normal[seed]) for seed in range(2000)]
    assert studies.seed_deviation(normal) == pytest.approx(100 * np.std(averages), rel=0.05)
    assert math.isnan(studies.seed_deviation(normal[[0]]))
    assert studies.spelled('{"tower": [], "shared": 0}') == '{"shared": 0.0, "tower": []}'


@made_up
def test_all_machines_against_the_printed_number():
    found = Judged(flat("LightMMoE", 93.41), flat("random", 78))
    assert found("C001", "B007", "A018") == [REPRODUCED, REPRODUCED, BETTER]
    assert found.line("C001")["measured"] == pytest.approx(93.41)
    assert "random scores reach 78" in found.line("C001")["reason"]
    # 93.42 is printed as 93.4 but not as 93.41; one seed has no spread.
    assert Judged(flat("LightMMoE", 93.42))("C001", "B007") == [BETTER, REPRODUCED]
    assert Judged(flat("LightMMoE", 93.3))("C001", "B007") == [WORSE, WORSE]
    # Seeds 93.0 and 94.2 on six machines: 93.6, twice the average's deviation is .693.
    seeds = [flat("LightMMoE", value, seed=seed) for seed, value in enumerate((93.0, 94.2))]
    found = Judged(*seeds, flat("HMMoE", 94.0), flat("MTSExample", 93.8))
    # One seed takes LightMMoE's spread; what draws nothing at random has none: .05 counts.
    assert found("C001", "B004", "B001") == [REPRODUCED, REPRODUCED, BETTER]
    assert Judged(flat("HMMoE", 94.0))("B004") == [BETTER]


@made_up
def test_some_machines_against_the_study_on_the_same():
    found = Judged(copied("LightMMoE", LOW))  # a point below the printed 93.41
    assert found("C001", "C011", "C026") == [REPRODUCED] * 3
    line = Judged(copied("LightMMoE", LOW, plus=0.3)).line("C001")
    assert (line["measured"], line["verdict"]) == (pytest.approx(92.71), BETTER)
    assert "over 3 of 6 machines" in line["reason"]
    assert "give 92.41 on these and 93.41 on all" in line["reason"]
    seeds = [copied("LightMMoE", LOW, plus=p, seed=s) for s, p in enumerate((0.1, 0.5))]
    assert Judged(*seeds)("C001") == [REPRODUCED]  # twice the deviation is .327
    one_group = Judged(copied("LightMMoE", ("machine-1-1", "machine-1-2")))
    assert one_group("C011", "C026") == [REPRODUCED, UNTESTABLE]


@made_up
def test_forecasts_wait_for_all_machines():
    # Until then the study's own 93.41 decides: at least 80, and 87; HMMoE's 93.4 is not above 95.
    for found in (Judged(), Judged(copied("LightMMoE", LOW, plus=-20), copied("HMMoE", LOW))):
        assert found("A033", "A018", "C107") == [REPRODUCED, BETTER, WORSE]
    assert Judged(copied("LightMMoE", ALL, plus=-13.51))("A033") == [WORSE]  # 79.9
    assert Judged(copied("LightMMoE", ALL, plus=-6.3))("A018") == [REPRODUCED]  # 87.1


@made_up
def test_what_the_study_did_not_run_may_move_as_its_detectors_move(monkeypatch):
    # They move by 1 point from three machines to six; 82.3 was expected.
    for value, verdict in {82.9: UNTESTABLE, 84.0: BETTER, 81.0: WORSE}.items():
        assert Judged(flat("MTSMixer", value, LOW))("A008") == [verdict]
    assert Judged(flat("MTSMixer", 82.3))("A008") == [REPRODUCED]
    # Variants move as LightMMoE moves: 86 on the lower machines is 87 on all, as printed in the
    # slides; the report expected 81. Full minus one expert: 92.41 - 86 = 6.41, of 6 to 8.
    one = {"settings": '{"experts": 1}'}
    found = Judged(flat("LightMMoE", 86, LOW, **one), copied("LightMMoE", LOW))
    assert found("B031", "A024", "B036") == [REPRODUCED, BETTER, REPRODUCED]
    assert found.line("B031")["measured"] == pytest.approx(86)
    assert found.line("B036")["measured"] == pytest.approx(6.41)
    small = Judged(copied("LightMMoE", LOW, plus=-1, **one), copied("LightMMoE", LOW))
    assert small("B036") == [BETTER]  # a smaller loss
    # Where the study's MMoEs drift apart by 2 points, as much is in doubt.
    table = study()
    table.loc[[("HMMoE", name) for name in HIGH], "point_f1_pa"] += 4
    use(monkeypatch, table)
    doubtful = Judged(flat("LightMMoE", 86, LOW, **one))
    assert doubtful("B031", "A024") == [UNTESTABLE, BETTER]


@made_up
def test_sweeps_gains_and_what_the_study_s_own_material_excludes():
    values = {"{}": 93.0, '{"experts": 2}': 93.2, '{"experts": 2, "hidden": 64}': 99.0}
    rows = [flat("LightMMoE", v, settings=s) for s, v in values.items()]
    found = Judged(*rows)  # the lead over the claimed value
    assert found("B038") == [WORSE] and found.line("B038")["measured"] == 2
    again = [flat("LightMMoE", v - 1, settings=s, seed=1) for s, v in values.items()]
    assert Judged(*rows, *again)("B038") == [REPRODUCED]  # within the seeds
    assert Judged(rows[0])("B038") == [UNTESTABLE]
    found = Judged(copied("LightMMoE", ALL), copied("AMAD", LOW))
    assert found("B055") == [REPRODUCED]
    assert found.line("B055")["measured"] == pytest.approx(0.81)
    assert Judged(copied("LightMMoE", ALL), copied("AMAD", ALL, plus=0.5))("B055") == [WORSE]
    found = Judged(copied("LightMMoE", LOW), copied("AMAD", HIGH))
    assert found("B055", "C090") == [UNTESTABLE, CONTRADICTED]  # 1.38; theirs is -.58
    found = Judged(flat("CAD", 10), flat("CAD-as-run", 93.1), flat("HMMoE", 76.0))
    assert found.line("C007")["measured"] == pytest.approx(93.1)
    # Printed 93.1, its runs gave 93.0; 74.04 is not 76.0; no group below 90 but 89.4 for one.
    verdicts = [CONTRADICTED, CONTRADICTED, REPRODUCED, CONTRADICTED]
    assert found("C007", "C005", "B005", "B029") == verdicts


@made_up
def test_ranks():
    names = ("MTSExample", "HMMoE", "LightMMoE", "SmartSimpleAD", "AMAD")
    rows = [*(copied(n, ALL) for n in names), copied("CAD", ALL, ours="CAD-as-run")]
    found = Judged(*rows)  # 93.7, 93.41, 93.4: rank 2, printed 3; overall 78.47, 77.83, 77.07
    assert found("B019", "C085") == [CONTRADICTED, CONTRADICTED]
    assert found.line("B019")["measured"] == 2


def test_overfitting_is_less_error_on_what_was_learned_and_more_on_the_rest():
    def judged(seen, unseen):
        """Errors of HMMoE by machine, beside LightMMoE's of 2."""
        table = pd.DataFrame({"seen": seen, "unseen": unseen, "entity": ["m0", "m1", "m2"]})
        table = table.assign(detector="HMMoE", settings="{}")
        light = table.assign(detector="LightMMoE", seen=2, unseen=2)
        others = table.assign(settings='{"epochs": 9}', unseen=99)
        table = pd.concat([table, light, others, table[:1].assign(entity="alone")])
        line = Judged(generalisation=table).line("C088")
        assert "over 3 machines" in line["reason"]
        return line["measured"], line["verdict"]

    # The medians of the ratios: half the error on what was learned, 1.5 times that on the rest.
    assert judged([0.8, 1, 1.8], [6, 3, 2]) == (1.5, REPRODUCED)
    assert judged([1, 1, 1], [1.8, 1.8, 9]) == (0.9, BETTER)  # less error on both
    assert judged([2.5, 2.5, 0], [4, 4, 4]) == (0.8, BETTER)  # more error on both
    assert Judged()("C088") == [UNTESTABLE]


def test_odd_rows_never_stop_it():
    zeros = {"parameters": 0, "train_seconds": 0, "score_seconds": 0}
    names = ("LightMMoE", "CAD-as-run", "CAD-FSE23", "MTSMixer", "HMMoE", "random")
    few = pd.DataFrame({"dataset": ["smd"], "entity": ["machine-1-1"], "detector": ["HMMoE"]})
    failed = [run("LightMMoE", "machine-1-1", math.nan, error="no")]
    far = flat("LightMMoE", 50, ["web-1", "machine-4-1"]), *(flat(n, 0, **zeros) for n in names)
    lacking = few.assign(protocol="study", seed=0, settings="{}", point_f1_pa=0.9)
    for rows in (frame(failed), frame(*far), lacking):
        found = Judged(efficiency=few, generalisation=few, ablation=rows)
        assert set(found(*studies.printed().index)) <= set(claims.VERDICTS)


def test_what_was_not_measured_is_taken_from_what_is_published(home):
    smd = home / "figures" / "smd"
    smd.mkdir(parents=True)
    kinds = {"base": "HMMoE", "kind": ["as it is", "pruning"], "method": ["HMMoE", "half"]}
    models = pd.DataFrame(kinds | {"parameters": [10, 4], "point_f1_pa": 0.9, "entity": "m"})
    found = claims.audit(compressed=models).set_index("id")["verdict"]
    assert found[["B047", "C001"]].tolist() == [REPRODUCED, UNTESTABLE]
    models.to_csv(smd / "compression.csv", index=False)
    found = claims.audit(compressed=models.iloc[:0])
    assert found.set_index("id").loc["B047", "verdict"] == REPRODUCED


def test_claims_are_counted_by_document():
    table = pd.DataFrame({"document": ["b", "a", "b"], "verdict": [WORSE, REPRODUCED, WORSE]})
    found = claims.summary(table)
    assert list(found.index) == ["b", "a", "all"] and list(found) == list(claims.VERDICTS)
    assert found.to_numpy().tolist() == [[0, 0, 2, 0, 0], [1, 0, 0, 0, 0], [1, 0, 2, 0, 0]]
