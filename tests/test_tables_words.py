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
    words = tables.in_words(ROWS)
    lines = words.splitlines()
    assert lines[:2] == ["On 3 entities of smd, protocol `ours`:", ""]
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
    assert lines[4:] == ["- 1 runs failed and are in no average."]


def test_in_words_takes_each_number_from_its_column():
    values = {"vus_pr": 0.2, "best_f1": 0.3, "point_f1_pa": 0.4}
    rows = frame(line("a", "x", 0.1, **values), line("random", "x", 0.0, point_f1_pa=0.7))
    found = re.findall(r"\d\.\d{3}", tables.in_words(rows).splitlines()[2])
    assert found == ["0.100", "0.200", "0.300", "0.400", "0.700"]
    assert "failed" not in tables.in_words(rows)


def test_no_adjusted_number_without_random_scores_beside_it():
    for words in (tables.in_words(ROWS), tables.in_words(frame(*light(), *chance()))):
        adjusted = [text for text in words.splitlines() if "point adjustment" in text]
        assert len(adjusted) == 2 and all("random scores" in text for text in adjusted)
        assert all("best F1" in text for text in adjusted)  # nor without the plain one
    # Not run, or failed everywhere: then no adjusted number at all.
    for rows in (frame(*light()), frame(*light(), *chance(values=(None, None, None)))):
        words = tables.in_words(rows)
        assert "point adjustment" not in words
        assert "best F1 0.567." in words


def test_in_words_counts_entities_by_data_set():
    rows = frame(
        line("a", "x", 0.1, dataset="smd"),
        line("a", "y", 0.1, dataset="smd"),
        line("a", "x", 0.1, dataset="smd", seed=1),
        line("a", "z", 0.1, dataset="asd"),
    )
    assert tables.in_words(rows).startswith("On 1 entities of asd, 2 entities of smd, protocol")
