"""The rows that a profile asks for, out of a table that holds more."""

import pandas as pd
import pytest
from made_up_rows import frame, line

from lmmoe.report import runs, tables
from lmmoe.report.params import Profile

ASKED = {
    "dataset": "smd",
    "entities": ["x", "y"],
    "detectors": {"LightMMoE": {"window": 5, "epochs": 2}},
    "protocols": ["ours"],
    "seeds": [0, 2],
    "vus_window": 10,
}
# As lmmoe.report.runs writes them: keys in order.
SETTINGS = '{"epochs": 2, "window": 5}'


def asked(detector="LightMMoE", entity="x", **changes):
    """A row that the profile asks for, but for the changes."""
    settings = {"settings": SETTINGS if detector == "LightMMoE" else "{}"}
    return line(detector, entity, 0.5, **({"vus_window": 10} | settings | changes))


def test_of_profile_keeps_what_was_asked_for():
    rows = frame(asked(), asked(seed=2), asked(entity="y"), asked("random"))
    pd.testing.assert_frame_equal(tables.of_profile(rows, Profile(**ASKED)), rows)


@pytest.mark.parametrize(
    "other",
    [
        {"detector": "MTSExample"},
        {"dataset": "asd"},
        {"entity": "z"},
        {"settings": "{}"},
        {"settings": '{"epochs": 3, "window": 5}'},
        {"detector": "random", "settings": SETTINGS},  # another detector's settings
        {"protocol": "study"},
        {"seed": 1},
        {"vus_window": 100},
    ],
    ids=str,
)
def test_of_profile_leaves_out_what_was_not(other):
    rows = frame(asked(**other), asked(), asked(**other))
    assert tables.of_profile(rows, Profile(**ASKED)).index.tolist() == [1]


def test_of_profile_without_entities_takes_them_all():
    rows = frame(asked(), asked(entity="z"), asked(entity="z", seed=7))
    assert tables.of_profile(rows, Profile(**ASKED | {"entities": []})).index.tolist() == [0, 1]


def test_of_profile_of_no_rows_is_no_rows():
    none = tables.of_profile(frame(), Profile(**ASKED))
    assert none.empty and list(none.columns) == list(runs.ALL)


def test_of_profile_knows_own_data_by_their_folder():
    rows = frame(asked(dataset="my servers"), asked(dataset="my"))
    profile = Profile(**ASKED | {"dataset": "somewhere/my servers"})
    assert tables.of_profile(rows, profile).index.tolist() == [0]
