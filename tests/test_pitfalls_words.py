"""Sentences about the mistakes: every number from the table, nothing said of what is not there."""

import pandas as pd
import pytest
from made_up_mistakes import copied, measured, several, switches

from lmmoe.report.pitfalls import GROUPS, MISTAKES
from lmmoe.report.tables import pitfalls as tables
from lmmoe.report.tables import pitfalls_words as words

MADE = tables.table(measured())


def changed(mistake="point adjustment", **gains):
    """The table with other gains of one mistake."""
    made = MADE.copy()
    for name, gain in gains.items():
        made.loc[(made["mistake"] == mistake) & (made["detector"] == name), "gain"] = gain
    return made


def line_with(text, made=MADE):
    return next((one for one in words.findings(made, "smd").splitlines() if text in one), None)


def test_where_and_what_flatters_most():
    assert words.findings(MADE, "smd").startswith("On 3 entities of smd; gains are ")
    assert line_with("**Point") == (
        "- **Point adjustment** gives +0.333 in the mean: LightMMoE +0.300, PCA +0.100, random "
        "scores +0.600; LightMMoE's lead over random scores goes from 0.500 to 0.200."
    )
    assert line_with("**Zeros") is None  # it gives nothing


def test_where_random_scores_gain_most():
    text = "- Random scores gain more than any detector from: point adjustment (+0.600)."
    assert line_with("Random scores gain") == text
    made = changed(random=0.2)
    text = "- No mistake gives random scores more than it gives to all the others."
    assert line_with("gives random", made) == text


def test_the_order():
    assert line_with("order") == (
        "- 1 of 2 mistakes change the order of the detectors in more than half of the resampled "
        "fleets; most often: point adjustment (96%). LightMMoE's place among the 3 moves up by "
        "point adjustment (2 to 1)."
    )
    calm = MADE.assign(order_changes=0.0)
    assert line_with("order", calm) == "- No mistake changes the order of the detectors."


def test_the_subjects_place():
    text = " LightMMoE's place among the 3 moves up by point adjustment (2 to 1)."
    assert line_with("place among").endswith(text)
    down = MADE.assign(rank_before=MADE["rank_after"], rank_after=MADE["rank_before"])
    assert "moves down by point adjustment (1 to 2)" in line_with("place among", down)
    assert line_with("place among", MADE[MADE["detector"] != "LightMMoE"]) is None


def test_what_makes_no_difference():
    assert line_with("Below") == (
        "- Below 0.005 for every detector on these data: zeros as first scores."
    )
    assert line_with("Below", changed("zeros as first scores", PCA=0.1)) is None


def test_what_flatters_by_lowering_the_others():
    made = tables.table(copied())
    assert made.set_index("detector")["gain"].to_dict() == pytest.approx(
        {"LightMMoE": 0, "PCA": -0.3, "random": 0.05}
    )
    # PCA's .9 is copied as .6: the subject's .8 stood .1 behind it, and stands .2 before.
    assert line_with("**Copied", made) == (
        "- **Copied baselines** leaves LightMMoE's own number as it is and changes the others': "
        "its lead over the best of them goes from -0.100 to +0.200."
    )
    # Its mean gain, below 0, is no cost, and what it gives to random scores no gain of theirs.
    assert line_with("lower the number", made) is None
    assert line_with("gives random scores more", made) is not None
    assert line_with("**Copied", made[made["detector"] != "LightMMoE"]) is None
    assert words.checklist(made).splitlines()[0] == (
        "1. Was every row run by the authors, under the same rules? *(Copied baselines: "
        "LightMMoE's lead over the best of the others -0.100 to +0.200)*"
    )


def test_at_most_seven_points():
    other = MADE[MADE["number"] == 1].assign(mistake="wider labels", gain=[0.4, -0.1, 0.2])
    made = pd.concat([MADE, other, other.assign(mistake="labels off by one", gain=-0.1)])
    made = pd.concat([made, tables.table(copied())])
    points = words.findings(made, "smd").splitlines()[2:]
    assert len(points) == 7 and all(line.startswith("- ") for line in points)
    assert points[0].startswith("- **Point adjustment**")
    assert points[1].startswith("- Then **wider labels** (+0.167 in the mean: LightMMoE +0.400,")


def test_what_each_mistake_starts_from():
    made = pd.concat([MADE, tables.table(copied())])
    assert words.starts(made).splitlines()[2:] == [
        "- best F1 (mistake 2 is in it already): 1",
        "- ROC AUC: 10",
        "- Point F1 (PA) (mistakes 1 and 2 are in it already): 16",
    ]


def test_three_at_once():
    text = words.together(tables.sweeps(several()))
    assert text == (
        "Three mistakes together take LightMMoE from 0.300 to 0.900, random scores from 0.000 to "
        "0.700; LightMMoE's lead over random scores goes from 0.300 to 0.200."
    )
    tried = tables.sweeps(several())
    alone = words.together(tried[tried["detector"] == "random"])
    assert alone == "Three mistakes together take random scores from 0.000 to 0.700."
    without = words.together(tried[tried["detector"] == "LightMMoE"])
    assert without == "Random scores failed; without them no point-adjusted number is told."


def test_what_costs():
    assert line_with("lower the number") is None
    made = changed("zeros as first scores", PCA=-0.3)
    assert "lower the number: zeros as first scores (-0.100)." in line_with("lower", made)


def test_nothing_measured_nothing_said():
    empty = tables.table(type(measured())())
    assert words.findings(empty, "smd") == words.NOTHING
    assert words.starts(empty) == words.NOTHING
    assert words.together(tables.sweeps(type(measured())())) == words.NOTHING
    assert len(words.checklist(empty).splitlines()) == len(MISTAKES)


def test_every_mistake_is_explained_once():
    text = "\n".join(map(words.explained, GROUPS))
    for one in MISTAKES:
        head = f"- **{one.number}. {one.title[0].upper()}{one.title[1:]}.** {one.wrong}"
        assert text.count(head) == 1
        assert text.count(f"*({one.source})*") == 1


def test_the_checklist_asks_the_costliest_question_first():
    lines = words.checklist(MADE).splitlines()
    assert lines[0] == (
        f"1. {MISTAKES[0].ask} *(Point adjustment: LightMMoE +0.300, random scores +0.600)*"
    )
    assert lines[1].startswith(f"1. {MISTAKES[9].ask} *(Zeros as first scores: LightMMoE +0.000")
    assert lines[2] == f"1. {MISTAKES[1].ask}"  # not measured: no number


@pytest.mark.parametrize(
    ("number", "text"),
    [(0.1234, "+0.123"), (-0.1236, "-0.124"), (-0.0001, "+0.000"), (0.0, "+0.000")],
)
def test_differences_with_their_sign(number, text):
    assert words.signed(number) == text


def test_failures_in_words():
    assert words.failed([]) == "Every run and every experiment succeeded."
    text = words.failed([f"run {n}: ValueError: x" for n in range(6)])
    assert text.splitlines()[0] == "Failed, and in no number:"
    assert "- run 3: ValueError: x" in text and "run 4" not in text
    assert text.endswith("- and 2 more")


def test_amad_in_words():
    text = words.amad(tables.amad(switches()))
    assert text.startswith("On 2 entities, as published: average precision 0.300, best F1 0.400, ")
    assert (
        "- all mended: average precision +0.150 (95 % interval +0.100 to +0.200), best F1 +0.150, "
        "Point F1 (PA) +0.000." in text
    )
    assert "- Random scores on the same entities: average precision 0.100" in text
    assert words.amad(pd.DataFrame()).startswith("This profile runs no AMAD")
