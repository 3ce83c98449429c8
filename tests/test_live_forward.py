"""The forward pass in NumPy against the network itself."""

import numpy as np
import pytest
import torch
from small import QUICK
from torch import nn

from lmmoe import detectors
from lmmoe.live.forward import Forward, supported

C = 5
PRESETS = ("LightMMoE", "CAD", "CAD-FSE23", "HMMoE")
VARIANTS = {
    "one expert": {"experts": 1},
    "own gates only": {"shared": 0.0},
    "one gate for all": {"shared": 1.0},
    "learned mixture of gates": {"gate": "learned"},
    "temperature": {"temperature": True},
    "three layers": {"hidden": [8, 7, 6]},
    "three convolutions": {"kernels": [2, 3, 4]},
    "batch norm, one convolution": {"normalise": True},
    "three tower layers": {"tower": [5, 4, 3]},
    "window of one row": {"window": 1},
}


def network(name, **settings):
    """A network whose weights, biases and running figures are all something."""
    made = detectors.detector(name, **(QUICK[name] | settings))
    built = made._build(C, torch.Generator().manual_seed(3))
    noise = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for part in built.state_dict().values():
            part += 0.3 * torch.rand(part.shape, generator=noise)
    return built.eval(), made.window


def compare(built, window, count, size=1.0):
    x = size * np.random.default_rng(count).normal(size=(window, C, count)).astype(np.float32)
    with torch.inference_mode():
        expected = built(torch.from_numpy(np.ascontiguousarray(x.transpose(2, 1, 0)))).numpy().T
    got = Forward(built)(x)
    assert got.shape == (C, count)
    assert np.ptp(expected) > 0.01 * size
    assert np.allclose(got, expected, rtol=1e-5, atol=1e-5 * size)


@pytest.mark.parametrize("count", [1, 2, 65])
@pytest.mark.parametrize("name", PRESETS)
def test_presets(name, count):
    compare(*network(name), count)


@pytest.mark.parametrize("settings", VARIANTS.values(), ids=VARIANTS)
def test_variants(settings):
    compare(*network("LightMMoE", **settings), 3)


def test_a_large_input_does_not_overflow_the_softmax():
    compare(*network("LightMMoE"), 4, size=1e4)


def test_one_window_is_the_same_as_among_many():
    built, window = network("LightMMoE")
    forward = Forward(built)
    x = np.random.default_rng(0).normal(size=(window, C, 40)).astype(np.float32)
    many = forward(x)
    for number in (0, 17, 39):
        assert np.allclose(forward(x[:, :, number, None])[:, 0], many[:, number], atol=1e-6)


def test_a_view_of_the_window_does_as_well_as_a_copy():
    built, window = network("LightMMoE")
    x = np.random.default_rng(0).normal(size=(2 * window, C)).astype(np.float32)
    view = x[3 : 3 + window, :, None]
    assert np.array_equal(Forward(built)(view), Forward(built)(view.copy()))


def test_the_input_is_left_as_it_is():
    built, window = network("HMMoE")
    x = np.random.default_rng(0).normal(size=(window, C, 2)).astype(np.float32)
    before = x.copy()
    Forward(built)(x)
    assert np.array_equal(x, before)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_supported(name):
    assert supported(network(name)[0])


@pytest.mark.parametrize(
    "settings", [{"gate": "mean"}, {"gate": "attention"}, {"expert": "series"}, {"tower": []}]
)
def test_other_parts_are_not_supported(settings):
    assert not supported(network("LightMMoE", **settings)[0])


def test_other_networks_are_not_supported():
    assert not supported(nn.Linear(2, 2))
