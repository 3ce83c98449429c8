"""The generated fleet is the same everywhere."""

import re

from lmmoe import data
from lmmoe.data.synthetic import EVENTS

IDS = {"web-1": "ef0d18de43c4", "db-1": "cb68e74b6300"}
IDS |= {"cache-1": "688eed448791", "batch-1": "2fb8a5776c47"}


def test_the_fleet(tmp_path):
    """Listed and read without any file; a change of an id is a change of the data set."""
    assert data.entities("synthetic", tmp_path) == sorted(IDS)
    for entity, known in IDS.items():
        series = data.load("synthetic", entity, tmp_path)
        assert series.id == known and data.files("synthetic", entity) == []
        events = re.findall(r"\w+ (\d+)-(\d+)", EVENTS[entity])
        assert series.events == [(int(start), int(end)) for start, end in events]
        assert [cause[:2] for cause in series.causes] == series.events
