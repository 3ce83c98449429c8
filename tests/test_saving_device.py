"""A detector that was fitted on a device which this machine does not have."""

import re

import numpy as np
import pytest
from small import make, waves

import lmmoe
from lmmoe.detectors.saving import load, save
from lmmoe.errors import DataError

TRAIN, TEST = waves(300), waves(200, seed=1)
ABSENT = "no-such-device"


@pytest.fixture
def fitted():
    return make("LightMMoE", seed=2).fit(TRAIN)


@pytest.fixture
def elsewhere(fitted, tmp_path):
    """A file that says it was fitted on a device that no machine has."""
    scores = fitted.decision_function(TEST)
    fitted.device = ABSENT
    return save(fitted, tmp_path / "model.safetensors"), scores


def refused(path):
    """The file, what is wrong, and what to do."""
    hint = "If it was fitted on a device that is not here, give device='cpu'"
    words = f"^{re.escape(str(path))}: the model does not fit.*{ABSENT}.*{re.escape(hint)}$"
    return pytest.raises(DataError, match=f"(?s){words}")


def test_an_absent_device_is_refused_with_advice(elsewhere):
    path, _ = elsewhere
    with refused(path):
        load(path)


def test_another_device_can_be_given_and_the_scores_are_the_same(elsewhere):
    path, scores = elsewhere
    back = lmmoe.load_detector(path, device="cpu")
    assert back.settings["device"] == back.device == "cpu"
    assert back.settings == make("LightMMoE", seed=2).settings
    assert np.array_equal(back.decision_function(TEST), scores)
