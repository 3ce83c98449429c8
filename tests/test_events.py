"""Which events are found by whom, over all entities: the table, the words, the picture."""

import numpy as np
import pandas as pd
import pytest
from drawing import drawn
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_rows import frame, line
from matplotlib.colors import to_hex

from lmmoe.report import plots, tables

# Three events on one entity, one on the next, none on the third.
EVENTS = {"m-2": [(10, 14), (20, 21), (50, 150)], "m-10": [(5, 8)], "quiet": []}


def found(detector, entity, digits, **others):
    return line(detector, entity, 0.5, found_events=digits, **others)


ROWS = frame(
    found("PCA", "m-10", "1"),
    found("PCA", "m-2", "100"),
    found("MTSExample", "m-2", "101"),
    found("MTSExample", "m-10", "0"),
    found("random", "m-2", "011"),
    found("random", "m-10", "1"),
    *(found(name, "quiet", "") for name in ("PCA", "MTSExample", "random")),
    # A detector without a threshold, and one that failed on an entity.
    found("SmartSimpleAD", "m-2", ""),
    found("SmartSimpleAD", "m-10", ""),
    found("CAD", "m-2", "111"),
    line("CAD", "m-10", None),
)
TABLE = tables.found_events(ROWS, "ours", EVENTS)


def test_events_by_hand():
    assert TABLE.index.names == ["entity", "first row", "rows"]
    # In the fleet's order; on each entity in time order.
    assert list(TABLE.index) == [("m-2", 10, 4), ("m-2", 20, 1), ("m-2", 50, 100), ("m-10", 5, 3)]
    assert set(TABLE) == {"PCA", "MTSExample", "random"}
    assert TABLE["PCA"].tolist() == [True, False, False, True]
    assert TABLE["MTSExample"].tolist() == [True, False, True, False]
    assert TABLE["random"].tolist() == [False, True, True, True]


def test_chance_finds_nothing():
    assert tables.finders(TABLE).tolist() == [2, 0, 1, 1]


def test_hard_events_by_hand():
    hard = tables.hard_events(TABLE)
    # What nobody finds comes first.
    assert list(hard.index) == [("m-2", 20, 1), ("m-2", 50, 100), ("m-10", 5, 3)]
    assert hard["found by"].tolist() == ["nobody", "L2 norm (MTSExample)", "PCA"]


def test_words_by_hand():
    assert tables.events_in_words(TABLE) == (
        "4 labelled events on 2 entities and 2 detectors with a threshold that no label touched: "
        "nobody finds 1 (25%), a single one 2 (50%), all of them 1 (25%). Random scores find 75%."
    )
    assert "andom" not in tables.events_in_words(TABLE.drop(columns="random"))


def test_the_lowest_seed_and_the_protocol_count():
    rows = frame(
        found("PCA", "m-10", "1", seed=2),
        found("PCA", "m-10", "0", seed=1),
        found("PCA", "m-10", "1", protocol="study"),
    )
    assert tables.found_events(rows, "ours", EVENTS)["PCA"].tolist() == [False]
    assert tables.found_events(rows, "study", EVENTS)["PCA"].tolist() == [True]


@pytest.mark.parametrize(
    "rows",
    [
        frame(found("PCA", "quiet", "")),
        frame(found("PCA", "m-10", "")),
        frame(line("PCA", "m-10", None)),
        frame(found("PCA", "m-10", "1", protocol="study")),
        frame(found("PCA", "not in the fleet", "1")),
    ],
    ids=["no events", "no threshold", "failed", "other protocol", "other entity"],
)
def test_without_anything_found_or_missed_there_are_words_and_no_rows(rows):
    table = tables.found_events(rows, "ours", EVENTS)
    assert len(table) == 0 and table.index.names == ["entity", "first row", "rows"]
    assert len(tables.hard_events(table)) == len(tables.finders(table)) == 0
    none = "No labelled events, or no detector with a threshold that needs no labels."
    assert tables.events_in_words(table) == none
    [ax] = drawn(lambda: plots.found_by(tables.finders(table), 0)).axes
    assert [text.get_text() for text in ax.texts] == ["No events, or no detector to find them."]


def test_chance_alone_is_nobody():
    table = tables.found_events(frame(found("random", "m-10", "1")), "ours", EVENTS)
    assert tables.events_in_words(table).startswith("No labelled events, or no detector")
    assert tables.hard_events(table)["found by"].tolist() == ["nobody"]


def test_digits_for_other_events_are_refused():
    rows = frame(found("PCA", "m-2", "10"))
    with pytest.raises(ValueError, match="^PCA on m-2: 2 digits for 3 events$"):
        tables.found_events(rows, "ours", EVENTS)


hits = st.lists(st.lists(st.booleans(), min_size=5, max_size=5), min_size=1, max_size=6)


@settings(deadline=None)
@given(hits)
def test_the_table_says_what_the_digits_say(matrix):
    """The matrix (detectors, events) cut into an entity of two events and one of three."""
    fleet = {"a": [(0, 1), (2, 4)], "b": [(0, 1), (5, 9), (20, 30)]}
    names = [f"detector {n}" for n in range(len(matrix))]
    rows = [
        found(name, entity, "".join(str(int(hit)) for hit in part))
        for name, line_ in zip(names, matrix, strict=True)
        for entity, part in (("b", line_[2:]), ("a", line_[:2]))
    ]
    table = tables.found_events(frame(*rows), "ours", fleet)
    assert table[names].to_numpy().T.tolist() == matrix
    assert tables.finders(table).tolist() == np.sum(matrix, axis=0).tolist()
    hard = tables.hard_events(table)
    assert len(hard) == (np.sum(matrix, axis=0) <= 1).sum()
    assert (hard["found by"] == "nobody").sum() == (np.sum(matrix, axis=0) == 0).sum()


# --- the picture ---


def test_the_picture_counts_events_by_their_finders():
    figure = drawn(lambda: plots.found_by(tables.finders(TABLE), 2))
    left, right = figure.axes
    assert [bar.get_height() for bar in left.patches] == [1, 2, 1]
    assert [text.get_text() for text in left.texts] == ["1", "2", "1"]
    assert left.get_xlabel() == "detectors that find it, of 2" and "4 events" in left.get_title(
        "left"
    )
    [dots] = right.collections
    assert np.asarray(dots.get_offsets()).tolist() == [[4, 2], [1, 0], [100, 1], [3, 1]]
    assert right.get_xscale() == "log"
    shades = [to_hex(bar.get_facecolor()) for bar in left.patches]
    assert len(set(shades)) == 3
    assert [to_hex(shade) for shade in dots.get_facecolors()] == [shades[n] for n in (2, 0, 1, 1)]
    [legend] = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["nobody", "a single one", "more"]


def test_a_single_detector_and_a_whole_fleet_can_be_drawn():
    rng = np.random.default_rng(0)
    for detectors, events in ((1, 1), (1, 5), (28, 327)):
        count = pd.Series(
            rng.integers(0, detectors + 1, events),
            index=pd.Index(rng.integers(1, 3000, events), name="rows"),
        )
        left = drawn(lambda c=count, n=detectors: plots.found_by(c, n)).axes[0]
        assert sum(bar.get_height() for bar in left.patches) == events
        assert len(left.patches) == detectors + 1
