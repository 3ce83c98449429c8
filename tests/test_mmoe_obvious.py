"""The network against the one of the benchmarks: a module for each expert and tower."""

import importlib.util
from pathlib import Path

import pytest
import torch
from naive_mmoe import seeded
from torch import nn

from lmmoe import detectors

FILE = Path(__file__).parents[1] / "benchmarks" / "obvious.py"
C = 5

EVERY_CASES = ["LightMMoE", "CAD", "HMMoE"]
PRECISIONS_CASES = [(torch.float32, 1e-5), (torch.float64, 1e-12)]


@pytest.fixture(scope="module")
def obvious():
    spec = importlib.util.spec_from_file_location("obvious", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pair(obvious, name, dtype):
    """Our network and the obvious one with the same weights, none of them 0 or 1; no dropout."""
    ours = detectors.detector(name, expert_dropout=0.0, tower_dropout=0.0)._build(C, seeded(1))
    with torch.random.fork_rng(), torch.no_grad():
        for weights in ours.parameters():
            if weights.numel() == 1 or weights.min() == weights.max():
                weights.add_(0.2 * torch.rand(weights.shape, generator=seeded(2)))
        plain = obvious.Obvious(name, C)
    for module in plain.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    ours, plain = ours.to(dtype), plain.to(dtype)
    load(plain, ours, name)
    return ours, plain


def load(plain, ours, name):
    given = in_their_layout(ours.state_dict(), name)
    counters = {key for key in plain.state_dict() if key.endswith("num_batches_tracked")}
    missing, unknown = plain.load_state_dict(given, strict=False)
    assert set(missing) <= counters and not unknown


def in_their_layout(values, name):
    """Tensors by the names of our weights, as tensors by the names of theirs."""
    deep = name == "HMMoE"
    count = len(values["experts.layers.weights.0"])
    found = {}
    for e in range(count):
        place = f"experts.{e}."
        first = place + ("first" if deep else "conv")
        kernels = values["experts.conv"].unflatten(1, (count, -1))[:, e]  # (w, k)
        found[f"{first}.weight"] = kernels.T[:, None, :, None]
        found[f"{first}.bias"] = values["experts.conv_bias"].unflatten(0, (count, -1))[e]
        if deep:
            found |= normed(f"{place}norm.", "experts.norm.", values, (count, -1), e)
            found |= normed(f"{place}norm2.", "experts.deeper_norms.0.", values, (1, -1), 0, e)
            found[f"{place}second.weight"] = values["experts.deeper.0"][e].T[:, :, None, None]
            found[f"{place}second.bias"] = values["experts.deeper_biases.0"][e, 0]
        for layer, theirs in enumerate((0, 3, 6) if deep else ("hidden", "out")):
            weight = values[f"experts.layers.weights.{layer}"][e]
            if layer == 0:  # theirs: a kernel's channels stand together; ours: a channel's kernels
                weight = weight.unflatten(0, (C, -1)).transpose(0, 1).flatten(0, 1)
            where = f"{place}layers.{theirs}" if deep else f"{place}{theirs}"
            found[f"{where}.weight"] = weight.T
            found[f"{where}.bias"] = values[f"experts.layers.biases.{layer}"][e, 0]
    return found | towers(values, deep) | gates(values, deep)


def normed(theirs, ours, values, split, part, group=0):
    """One expert's batch norm; gradients have no running figures."""
    names = {
        "weight": "weight",
        "bias": "bias",
        "mean": "running_mean",
        "variance": "running_var",
    }
    return {
        theirs + there: values[ours + here][group, 0].unflatten(0, split)[part]
        for here, there in names.items()
        if ours + here in values
    }


def towers(values, deep):
    found = {}
    for c in range(C):
        for layer, theirs in enumerate((0, 4, 7) if deep else ("inner", "head")):
            where = f"towers.{c}.{theirs}"
            found[f"{where}.weight"] = values[f"towers.weights.{layer}"][c].T
            found[f"{where}.bias"] = values[f"towers.biases.{layer}"][c, 0]
        if deep:
            found[f"towers.{c}.1.weight"] = values["towers.norm"][c, 0]
            found[f"towers.{c}.1.bias"] = values["towers.norm_bias"][c, 0]
    return found


def gates(values, deep):
    found = {f"gates.{c}": values["gate.weights.own"][c].T for c in range(C)}
    if "gate.weights.common" in values:
        found["shared_gate"] = values["gate.weights.common"].T
    if deep:
        found |= {"bias": values["gate.bias"][:, 0], "temperature": values["gate.tau"]}
    return found


def example(step, ours, dtype):
    window = len(ours.experts.conv)
    x = torch.randn(24, C, window, generator=seeded(step)).to(dtype)
    return x, torch.randn(24, C, generator=seeded(100 + step)).to(dtype)


def test_forecasts_gradients_and_running_figures_are_equal(obvious):
    for name in EVERY_CASES:
        for dtype, near in PRECISIONS_CASES:
            ours, plain = pair(obvious, name, dtype)
            optimisers = [torch.optim.SGD(net.parameters(), lr=0.05) for net in (ours, plain)]
            for step in range(3):
                x, target = example(step, ours, dtype)
                forecasts = ours.train()(x), plain.train()(x.transpose(1, 2))
                torch.testing.assert_close(*forecasts, rtol=near, atol=near)
                for forecast, optimiser in zip(forecasts, optimisers, strict=True):
                    optimiser.zero_grad()
                    (forecast - target).square().mean().backward()
                slopes = {key: weights.grad for key, weights in ours.named_parameters()}
                theirs = {key: weights.grad for key, weights in plain.named_parameters()}
                mine = in_their_layout(slopes, name)
                assert mine.keys() == theirs.keys()
                for key, slope in theirs.items():
                    torch.testing.assert_close(mine[key], slope, rtol=near, atol=near, msg=key)
                for optimiser in optimisers:
                    optimiser.step()
            state = in_their_layout(ours.state_dict(), name)
            for key, values in plain.state_dict().items():
                if not key.endswith("num_batches_tracked"):
                    torch.testing.assert_close(state[key], values, rtol=near, atol=near, msg=key)
            assert any(key.endswith("running_var") for key in state) == (name == "HMMoE")
            x, _ = example(9, ours, dtype)
            torch.testing.assert_close(
                ours.eval()(x), plain.eval()(x.transpose(1, 2)), rtol=near, atol=near
            )


def test_the_benchmarks_networks_are_of_the_presets_sizes(obvious):
    with torch.random.fork_rng():
        for name, count in (("LightMMoE", 232_390), ("CAD", 465_182), ("HMMoE", 3_081_743)):
            plain = obvious.Obvious(name, 38)
            assert sum(weights.numel() for weights in plain.parameters()) == count
