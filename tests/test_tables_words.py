"""Tables and sentences for people: rounded, titled, and no adjusted number alone."""

import math
import re

from made_up_rows import ROWS, chance, frame, light, line

from lmmoe import tables


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


def test_in_words_by_hand():
    lines = tables.in_words(ROWS, "ours").splitlines()
    head = "On 3 entities of smd, protocol `ours`, VUS over buffers of up to 100 rows:"
    assert lines[:2] == [head, ""]
    # Seed 0: (.2 + .5 + .8) / 3 = .5; seed 1 without machine-1-2: (.4 + 1) / 2 = .7.
    spread = math.sqrt(0.02)
    assert lines[2] == (
        f"- **LightMMoE**: average precision 0.567 (± {spread:.3f} over seeds), VUS-PR 0.567, "
        "best F1 0.567; with point adjustment 0.567 (random scores 0.200)."
    )
    assert lines[3] == (
        "- **random scores**: average precision 0.200, VUS-PR 0.200, best F1 0.200; "
        "with point adjustment 0.200."
    )
    assert lines[4:] == [
        "- The seed matters most to LightMMoE on machine-1-1: average precision from 0.200 to "
        "0.400.",
        "- 1 runs failed and are in no average.",
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
    assert f"**a**: average precision 0.750 (± {spread:.3f} over seeds), " in words
    assert "0.250" not in words
    assert "- 1 runs failed" in words
    other = tables.in_words(rows, "ours")
    assert "0.250 (± 0.000 over seeds), " in other and "failed" not in other


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
    found = re.findall(r"\d\.\d{3}", tables.in_words(rows, "ours").splitlines()[2])
    assert found == ["0.100", "0.200", "0.300", "0.400", "0.700"]
    assert "failed" not in tables.in_words(rows, "ours")


def test_no_adjusted_number_without_random_scores_beside_it():
    for rows in (ROWS, frame(*light(), *chance())):
        words = tables.in_words(rows, "ours")
        adjusted = [text for text in words.splitlines() if "point adjustment" in text]
        assert len(adjusted) == 2 and all("random scores" in text for text in adjusted)
        assert all("best F1" in text for text in adjusted)  # nor without the plain one
    # Not run, or failed everywhere: then no adjusted number at all.
    for rows in (frame(*light()), frame(*light(), *chance(values=(None, None, None)))):
        words = tables.in_words(rows, "ours")
        assert "point adjustment" not in words
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
