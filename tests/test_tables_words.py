"""Tables and sentences for people: rounded, titled, and no adjusted number alone."""

import math
import re

from made_up_fleet import fleet
from made_up_rows import ROWS, chance, frame, light, line

from lmmoe.report import tables


def test_readable_by_hand():
    rows = frame(line("MTSExample", "x", 0.12345, train_seconds=1.2345), line("random", "x", 0.1))
    table = tables.readable(tables.summary(rows, "ours"))
    assert list(table.index) == ["L2 norm (MTSExample)", "random scores"]
    first = table.iloc[0]
    assert first["average precision"] == first["Point F1 (PA)"] == 0.123
    assert first["train (s)"] == 1.23 and first["memory (MB)"] == 10
    assert first["parameters"] == 5 and first["runs"] == 1 and first["failed"] == 0
    # The plain numbers come before the adjusted ones.
    assert list(table.columns).index("best F1") < list(table.columns).index("Point F1 (PA)")


def test_what_nobody_has_a_value_of_is_left_out():
    nan = math.nan
    rows = frame(
        line("PCA", "x", 0.5, pot_f1=nan, vus_pr=nan), line("random", "x", 0.1, pot_f1=nan)
    )
    table = tables.readable(tables.summary(rows, "ours"))
    assert "F1, POT" not in table and table["VUS-PR"].notna().tolist() == [False, True]
    given = {"PCA": {"best_f1": 0.5, "pot_f1": nan, "vus_pr": nan, "entity": "x"}}
    judged = tables.judged(given | {"random": {"best_f1": 0.1, "pot_f1": nan, "vus_pr": 0.2}})
    # In the order of the titles, and what is no metric is not among them.
    assert list(judged.index) == ["VUS-PR", "best F1"]
    assert math.isnan(judged.loc["VUS-PR", "PCA"]) and judged.loc["best F1", "PCA"] == 0.5


FLEET = (
    "- Entities of one data set, such as machines of one fleet, are not independent data sets: "
    "intervals and p-values are too hopeful."
)


def test_in_words_by_hand():
    lines = tables.in_words(ROWS, "ours").splitlines()
    head = "On 3 entities of smd, protocol `ours`, VUS over buffers of up to 100 rows:"
    assert lines[:2] == [head, ""]
    # Seed 0: (.2 + .5 + .8) / 3 = .5; seed 1 without machine-1-2: (.4 + 1) / 2 = .7.
    spread = math.sqrt(0.02)
    # Of 27 resamples of .3, .5, .9 one is all .3 and one all .9, 3.7 % each: the interval's ends.
    assert lines[2:] == [
        "- **LightMMoE** leads, before 1 more: average precision 0.567 (95 % interval 0.300 to "
        f"0.900), ± {spread:.3f} over 2 seeds; VUS-PR 0.567, best F1 0.567.",
        "- Point adjustment lifts random scores from best F1 0.200 to 0.200, and LightMMoE from "
        "0.567 to 0.567.",
        "- The cheapest to train that the leader's lead does not surely exclude: LightMMoE, 1 s an "
        "entity.",
        "- The seed matters most to LightMMoE on machine-1-1: average precision from 0.200 to "
        "0.400.",
        "- Failed, and in no average: 1 of 9 runs, LightMMoE 1.",
        FLEET,
    ]


def test_in_words_tells_of_the_protocol_that_was_asked_for():
    rows = frame(
        line("a", "x", 0.25),
        line("a", "x", 0.25, seed=1),
        line("a", "x", 0.7, protocol="study"),
        line("a", "x", 0.8, protocol="study", seed=1),
        line("a", "y", None, protocol="study"),
    )
    words = tables.in_words(rows, "study")
    assert words.startswith("On 2 entities of smd, protocol `study`, ")
    spread = math.sqrt(2 * 0.05**2)
    # One entity has no interval.
    assert f"- **a**: average precision 0.750, ± {spread:.3f} over 2 seeds; " in words
    assert "0.250" not in words
    assert "Failed, and in no average: 1 of 3 runs, a 1." in words
    other = tables.in_words(rows, "ours")
    assert "0.250, ± 0.000 over 2 seeds; " in other and "Failed" not in other


def made(**values):
    """Six entities; each detector's values on them."""
    return [
        line(name.replace("_", " "), f"m-{n}", value)
        for name, those in values.items()
        for n, value in enumerate(those)
    ]


def test_in_words_holds_the_leader_against_the_yardsticks():
    base = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    rows = frame(
        *made(best=[b + 0.3 for b in base], PCA=[b + 0.2 for b in base], MTSExample=base),
        *made(LightMMoE=[b - 0.05 for b in base[:5]] + [0.9], random=[0.01] * 6),
    )
    words = tables.in_words(rows, "ours")
    pca = "- Its lead over PCA (place 2, 0.550): +0.100 (95 % interval +0.100 to +0.100), better "
    assert pca + "on 6 of 6 entities, p after Holm 0.219." in words  # 7 x 2 / 64
    # (.05 + .15 + .25 + .35 + .45 + .9) / 6 = .358, and .65 less that.
    assert "LightMMoE (place 3, 0.358): +0.292 (" in words
    assert "L2 norm (MTSExample) (place 4, 0.350): +0.300 (95 % interval +0.300 to +0.300)" in words
    # LightMMoE - L2: five times -.05, once +.3; by hand (-.25 + .3) / 6.
    assert "- LightMMoE against L2 norm (MTSExample): +0.008 (95 % interval -0.050 to " in words
    assert words.count("p after Holm") == 3  # LightMMoE and the leader are not tested as a pair
    # Four against L2, three against PCA; the least p is 2 / 64, and 7 x .03125 is far above .05.
    assert "Holm's correction over 7 comparisons, 5 %: none differs." in words


def test_in_words_says_which_differences_are_significant():
    base = [0.2 + 0.01 * n for n in range(12)]
    rows = frame(
        *made(best=[b + 0.3 for b in base], MTSExample=base, random=[b - 0.1 for b in base]),
        *made(like=[b + 0.01 * (-1) ** n for n, b in enumerate(base)]),
    )
    words = tables.in_words(rows, "ours")
    assert "Holm's correction over 3 comparisons, 5 %: 1 better and 1 worse than L2 norm" in words
    few = frame(*(one for one in rows.to_dict("records") if one["entity"] in ("m-0", "m-1")))
    assert "none differs (2 entities are too few for any to)." in tables.in_words(few, "ours")


def test_in_words_finds_the_cheapest_that_is_as_good():
    rows = frame(
        *(line("slow", f"m-{n}", v, train_seconds=50) for n, v in enumerate((0.3, 0.5, 0.7))),
        *(line("quick", f"m-{n}", v, train_seconds=2) for n, v in enumerate((0.3, 0.5, 0.6))),
        *(line("poor", f"m-{n}", 0.1, train_seconds=0.1) for n in range(3)),
    )
    words = tables.in_words(rows, "ours")
    said = "quick, 2 s an entity (average precision 0.467; the leader takes 50 s)."
    found = "- The cheapest to train that the leader's lead does not surely exclude: "
    assert f"{found}{said}" in words
    # A little worse everywhere is surely worse, though its mean lies in the leader's interval.
    worse = [line("worse", f"m-{n}", v, train_seconds=1) for n, v in enumerate((0.2, 0.4, 0.6))]
    words = tables.in_words(frame(*rows.to_dict("records"), *worse), "ours")
    assert f"{found}{said}" in words


def test_in_words_ranks_nobody_by_other_entities():
    slow = [line("slow", "m-0", 0.99), *made(a=[0.9, 0.1, 0.1], b=[0.8, 0.2, 0.2])]
    words = tables.in_words(frame(*slow), "ours")
    assert "- **b** leads, before 2 more: average precision 0.400 " in words
    assert "on fewer than 3 entities, and so not ranked here: slow (1)." in words


def test_in_words_stays_short_with_28_detectors():
    rows = fleet(entities=9)
    lines = tables.in_words(rows, "ours").splitlines()
    assert 8 <= len(lines) - 2 <= 13
    assert all(len(text) < 230 for text in lines)
    assert "AMAD (5)" in lines[-3] and "HMMoE 1" in lines[-2]
    assert lines[-1] == FLEET


def test_in_words_states_the_window_of_vus():
    rows = frame(line("a", "x", 0.1, vus_window=20), line("a", "y", 0.1, vus_window=7))
    for one, window in ((rows, "7, 20"), (rows.head(1), "20"), (rows.tail(1), "7")):
        assert f", VUS over buffers of up to {window} rows:\n" in tables.in_words(one, "ours")


def test_in_words_says_when_there_are_no_metrics():
    said = "On 2 entities of smd: no labelled events, or no run that succeeded, and so no metrics."
    names = ("x", "y")
    unlabelled = frame(*(line("a", name, math.nan) for name in names))
    failed = frame(*(line("a", name, None) for name in names))
    for rows in (unlabelled, failed, frame(*unlabelled.to_dict("records"), line("b", "y", None))):
        assert tables.in_words(rows, "ours") == said
    assert tables.in_words(frame(line("a", "x", 0.5), line("a", "y", 0.5)), "study") == said
    one = frame(line("a", "x", 0.5), line("a", "y", math.nan))
    assert "average precision 0.500" in tables.in_words(one, "ours")


def test_in_words_names_the_entity_where_the_seed_decides_most():
    seeds = {
        ("random", "x"): (0.2, 0.3, 0.25),
        ("random", "y"): (0.9, 0.55, 0.7),  # the widest: .35
        ("LightMMoE", "x"): (0.1, 0.4, 0.4),
        ("LightMMoE", "y"): (0.0, None, None),
    }
    lines = [
        line(detector, entity, value, seed=seed)
        for (detector, entity), values in seeds.items()
        for seed, value in enumerate(values)
    ]
    # Neither another protocol nor another metric counts.
    other = [line("LightMMoE", "x", value, seed=value, protocol="study") for value in (0, 1)]
    words = tables.in_words(frame(*lines, *other).assign(vus_pr=[0, 1] * 7), "ours")
    assert (
        "- The seed matters most to random scores on y: average precision from 0.550 to 0.900."
    ) in words.splitlines()


def test_in_words_does_not_speak_of_seeds_where_they_change_nothing():
    for values in ((0.5,), (0.5, 0.5), (0.5, None)):
        lines = [line("a", "x", value, seed=seed) for seed, value in enumerate(values)]
        words = tables.in_words(frame(*lines, line("a", "y", 0.9)), "ours")
        assert "average precision 0.700" in words and "matters" not in words


def test_in_words_takes_each_number_from_its_column():
    values = {"vus_pr": 0.2, "best_f1": 0.3, "point_f1_pa": 0.4}
    rows = frame(line("a", "x", 0.1, **values), line("random", "x", 0.0, point_f1_pa=0.7))
    lines = tables.in_words(rows, "ours").splitlines()
    assert re.findall(r"\d\.\d{3}", lines[2]) == ["0.100", "0.200", "0.300"]
    assert re.findall(r"\d\.\d{3}", lines[3]) == ["0.000", "0.700", "0.300", "0.400"]


def test_no_adjusted_number_without_random_scores_beside_it():
    for rows in (ROWS, frame(*light(), *chance())):
        words = tables.in_words(rows, "ours")
        adjusted = [text for text in words.splitlines() if "adjustment" in text]
        assert len(adjusted) == 1 and "random scores" in adjusted[0]
        assert "best F1" in adjusted[0]  # nor without the plain one
    # Not run, or failed everywhere: then no adjusted number at all.
    for rows in (frame(*light()), frame(*light(), *chance(values=(None, None, None)))):
        words = tables.in_words(rows, "ours")
        assert "adjustment" not in words
        assert "best F1 0.567." in words


def test_in_words_counts_entities_by_data_set():
    rows = frame(
        line("a", "x", 0.1, dataset="smd"),
        line("a", "y", 0.1, dataset="smd"),
        line("a", "x", 0.1, dataset="smd", seed=1),
        line("a", "z", 0.1, dataset="asd"),
    )
    words = tables.in_words(rows, "ours")
    assert words.startswith("On 1 entities of asd, 2 entities of smd, protocol")


def test_in_words_says_what_training_adds():
    values = {"LightMMoE": (0.2, 0.5, 0.6), "untrained LightMMoE": (0.3, 0.2, 0.1)}
    rows = [
        line(name, f"m-{n}", value)
        for name, given in values.items()
        for n, value in enumerate(given)
    ]
    words = tables.in_words(frame(*rows), "ours")
    # -.1, .3 and .5; of 27 resamples one is all -.1 and one all .5.
    assert (
        "- What training adds to LightMMoE: +0.233 (95 % interval -0.100 to +0.500) to the 0.200 "
        "of random weights, better on 2 of 3 entities."
    ) in words
    assert "What training adds" not in tables.in_words(frame(*rows[:3]), "ours")
