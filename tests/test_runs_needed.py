"""Results that a notebook is about: given, or the reason why not, with the entity's name."""

import re

import numpy as np
import pytest
from small import failing, series

from lmmoe.errors import DataError
from lmmoe.report import runs
from lmmoe.report.runs import Run

SERIES = series()
pytestmark = pytest.mark.usefixtures("small_runs")


def test_a_run_that_ends_well_gives_its_result():
    run = Run(SERIES, "MTSExample")
    assert np.array_equal(runs.needed(run).scores, runs.result(run).scores)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("training diverged"),
        ValueError("bad"),
        MemoryError("too large"),
        NotImplementedError("no scores"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_failure_is_told_as_what_ends_a_notebook_alone(monkeypatch, error):
    failing(monkeypatch, error)
    message = f"made-up/pump-1: MTSExample failed here ({type(error).__name__}: {error})"
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        runs.needed(Run(SERIES, "MTSExample"))


@pytest.mark.parametrize(
    "error", [DataError("bad cell", row=3), NameError("slip")], ids=["bad data", "slip"]
)
def test_bad_data_and_slips_in_the_code_stay_what_they_are(monkeypatch, error):
    failing(monkeypatch, error)
    with pytest.raises(type(error)) as caught:
        runs.needed(Run(SERIES, "MTSExample"))
    assert caught.value is error
