"""The benchmark programs: they take turns, count right, and say what they measured."""

import json
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import entities, limit, measure
from benchmarks.training import Obvious
from lmmoe.detectors import detector

ROOT = Path(__file__).parents[1]
BATCHES = {"LightMMoE": 64, "CAD": 128, "HMMoE": 32}
NAMES = ("memory", "metrics", "scoring", "limit", "training", "entities")


def check(rows):
    assert len({(row["what"], row["yardstick"]) for row in rows}) == len(rows) > 0
    for row in rows:
        assert row["threads"] == 1 and row["reached"] is None
        assert row["unit"] and row["yardstick"]
        for key in ("ours", "theirs", "compared"):
            if row[key] is not None:
                assert row[key]["low"] <= row[key]["median"] <= row[key]["high"]
                assert row[key]["turns"] == 1
        for far in ("largest difference", "largest difference of a score, relative"):
            assert row["remarks"].get(far, 0) < 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_every_program_measures_what_it_says(name, tmp_path, monkeypatch):
    monkeypatch.setenv("LMMOE_DATA", str(tmp_path / "none"))  # anyone can run it
    monkeypatch.chdir(ROOT)
    rows = import_module(f"benchmarks.{name}").rows(quick=True)
    rows = [measure.as_json(row, 1, quick=True) for row in rows]
    check(json.loads(json.dumps(rows)))
    if name == "scoring" and all(map(find_spec, ("onnx", "onnxruntime", "onnxscript"))):
        assert "ONNX Runtime, batch" in rows[1]["yardstick"]
        assert len(rows[1]["remarks"]["by batch, µs"]) == 4


def program(*words, **environment):
    words = [sys.executable, "-m", "benchmarks", *map(str, words)]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, **environment)


def test_quick_runs_print_tables_and_leave_files(tmp_path, monkeypatch):
    monkeypatch.setenv("LMMOE_DATA", str(tmp_path / "none"))
    out = tmp_path / "out"
    done = program("limit", "imports", "--quick", "--out", out)
    assert done.returncode == 0, done.stderr
    assert {file.name for file in out.iterdir()} == {"limit.json", "imports.json"}
    for name in ("limit", "imports"):
        found = json.loads((out / f"{name}.json").read_text(encoding="utf-8"))
        assert found["program"] == name and found["quick"] is True
        where = found["environment"]
        assert where["processor"] and where["date"][:2] == "20" and where["load"].keys() == {"1"}
        assert where["versions"]["numpy"] == np.__version__
        check(found["rows"])
        assert all(row["what"] in done.stdout for row in found["rows"])


def test_a_program_that_fails_is_named_and_leaves_no_file(tmp_path):
    out = tmp_path / "out"
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nif '--child' in sys.argv: sys.exit('no luck')\n"
    )
    environment = {"PYTHONPATH": str(tmp_path), "PATH": ""}
    done = program("metrics", "--quick", "--out", out, env=environment)
    assert done.returncode == 1 and not out.exists()
    assert "no luck" in done.stderr and "metrics failed on 1 threads" in done.stderr
    done = program("nosuch")
    assert done.returncode == 2 and "nosuch" in done.stderr


def test_programs_take_turns_after_one_that_does_not_count():
    calls = []

    def noted(name):
        return lambda turn: calls.append((name, turn)) or {"seconds": len(calls)}

    found = measure.in_turn({name: noted(name) for name in "AB"}, 2)
    assert calls == [("A", 0), ("B", 0), ("A", 0), ("B", 0), ("A", 1), ("B", 1)]
    assert found == {"A": {"seconds": [3, 5]}, "B": {"seconds": [4, 6]}}
    assert measure.in_turn({"A": noted("A")}, 1, warm=False) == {"A": {"seconds": [7]}}


def test_spreads_ratios_and_bounds():
    spread = measure.Spread.of([4.0, 1.0, 2.0, 3.0, 5.0])
    assert (spread.low, spread.median, spread.high, spread.turns) == (2, 3, 4, 5)
    # Turn by turn: the ratio of the medians would be 2 / 10.
    assert measure.ratio([1.0, 20.0, 2.0], [10.0, 10.0, 40.0]).median == pytest.approx(0.1)
    bounds = {("at least", 3.0): True, ("at least", 3.1): False, ("at most", 2.9): False}
    for bound, reached in (bounds | {("at most", 3.0): True}).items():
        row = measure.Row("w", "s", [3.0], compared=spread, bound=bound)
        assert row.reached is reached
        assert measure.as_json(row, 2, quick=True)["reached"] is None
        (_, line) = measure.table([measure.as_json(row, 2, quick=False)]).splitlines()
        assert line.split()[:3] == ["w", "2", "3"]
        assert line.endswith("reached" if reached else "MISSED")
    assert measure.Row("w", "s", spread, compared=spread).reached is None


def test_stacked_entities_learn_what_they_learn_one_by_one(monkeypatch, tmp_path):
    monkeypatch.setenv("LMMOE_DATA", str(tmp_path / "none"))
    windows, targets = entities.examples(3)
    rows = measure.machine().train
    scaled = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    assert np.allclose(windows[1, 2].T, scaled[80 + 2 :][:16], atol=1e-5)
    assert np.allclose(targets[1, 2], scaled[80 + 2 + 16], atol=1e-5)
    together = entities.stacked(entities.networks(3))
    apart = entities.networks(3)
    one_by_one = entities.one_by_one([entities._by_hand(network) for network in apart])
    for _ in range(4):
        weights = together(windows, targets)
        one_by_one(windows, targets)
    for number, network in enumerate(apart):
        for name, own in network.named_parameters():
            assert (weights[name][number] - own).abs().max() < 1e-5


# --- the arithmetic of the networks ---


@pytest.mark.parametrize("name", BATCHES)
def test_torch_counts_the_same_but_for_the_gates_that_it_adds_up(name, monkeypatch):
    made, channels = detector(name), 5
    network = made._build(channels, torch.Generator()).eval()
    with FlopCounterMode(display=False) as counter:
        network(torch.zeros(7, channels, made.window))
    gates = [each for each in limit.products(made, channels) if "gate" in each.name]
    twice = sum(gate.multiply_adds for gate in gates[1:])
    count = limit.flop(made, channels)
    assert counter.get_total_flops() == 7 * (count - 2 * twice)
    # All products are multiplied in their own shapes.
    done, inner = [], torch.bmm

    def counting(left, right, *, out):
        done.append(2 * left.shape[0] * left.shape[1] * left.shape[2] * right.shape[2])
        return inner(left, right, out=out)

    monkeypatch.setattr(torch, "bmm", counting)
    limit.own_seconds(made, channels, 4, 0.0, train=True)
    assert sum(done) == 4 * limit.TRAINING * count
    assert limit.flop(detector("LightMMoE"), 38) == 523_968  # counted by hand


def test_only_the_parts_that_were_thought_of_are_counted():
    for settings in ({"tower": []}, {"gate": "mean"}, {"expert": "series"}):
        with pytest.raises(NotImplementedError, match="counted are window experts"):
            limit.flop(detector("LightMMoE", **settings), 3)


# --- the network against the obvious one: a module for each expert and tower ---

C = 5


def layers(where, part, group, names):
    """Linear layers of one expert or tower."""
    for name, weight, bias in zip(names, part.weights, part.biases, strict=True):
        yield f"{where}.{name}.weight", weight[group].T
        yield f"{where}.{name}.bias", bias[group, 0]


def norm(where, part, pick):
    names = {"weight": "weight", "bias": "bias", "mean": "running_mean"}
    for ours, theirs in (names | {"variance": "running_var"}).items():
        yield f"{where}.{theirs}", pick(getattr(part, ours))


def in_their_layout(ours):
    """Our network's weights and running figures by the names of theirs."""
    experts, towers, gate, e = ours.experts, ours.towers, ours.gate, ours.experts.count
    deep, found = gate.tau is not None, {}
    conv = "first" if deep else "conv"
    numbers = ("layers.0", "layers.3", "layers.6") if deep else ("hidden", "out")
    for i in range(e):
        place, kernels = f"experts.{i}", experts.conv.unflatten(1, (e, -1))[:, i]  # (w, k)
        found[f"{place}.{conv}.weight"] = kernels.T[:, None, :, None]
        found[f"{place}.{conv}.bias"] = experts.conv_bias.view(e, -1)[i]
        found |= dict(layers(place, experts.layers, i, numbers))
        # Theirs: a kernel's channels stand together; ours: a channel's kernels.
        name = f"{place}.{numbers[0]}.weight"
        found[name] = found[name].unflatten(1, (C, -1)).transpose(1, 2).flatten(1)
        if deep:
            found |= norm(f"{place}.norm", experts.norm, lambda x, i=i: x.view(e, -1)[i])
            found |= norm(f"{place}.norm2", experts.deeper_norms[0], lambda x, i=i: x[i, 0])
            found[f"{place}.second.weight"] = experts.deeper[0][i].T[:, :, None, None]
            found[f"{place}.second.bias"] = experts.deeper_biases[0][i, 0]
    for c in range(C):
        found[f"gates.{c}"] = gate.weights.own[c].T
        found |= dict(layers(f"towers.{c}", towers, c, (0, 4, 7) if deep else ("inner", "head")))
        if deep:
            found[f"towers.{c}.1.weight"] = towers.norm[c, 0]
            found[f"towers.{c}.1.bias"] = towers.norm_bias[c, 0]
    if gate.weights.common is not None:
        found["shared_gate"] = gate.weights.common.T
    if deep:
        found |= {"bias": gate.bias[:, 0], "temperature": gate.tau}
    return found


@pytest.mark.parametrize(
    ("name", "weights"), [("LightMMoE", 232_390), ("CAD", 465_182), ("HMMoE", 3_081_743)]
)
def test_the_obvious_network_is_ours(name, weights):
    with torch.random.fork_rng():
        count = sum(each.numel() for each in Obvious(name, 38).parameters())
        plain = Obvious(name, C).double()
    assert count == weights  # of the study's program
    made = detector(name, expert_dropout=0.0, tower_dropout=0.0)
    ours, draw = made._build(C, torch.Generator().manual_seed(1)).double(), torch.Generator()
    with torch.no_grad():
        for values in ours.parameters():  # none of them 0 or 1
            if values.numel() == 1 or values.min() == values.max():
                values.add_(0.2 * torch.rand(values.shape, generator=draw).double())
        missing, unknown = plain.load_state_dict(in_their_layout(ours), strict=False)
    assert not unknown and all(key.endswith("num_batches_tracked") for key in missing)
    for module in plain.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    optimisers = [torch.optim.SGD(net.parameters(), lr=0.05) for net in (ours, plain)]
    for _ in range(3):
        x = torch.randn(24, C, made.window, generator=draw).double()
        forecasts = ours.train()(x), plain.train()(x.transpose(1, 2))
        torch.testing.assert_close(*forecasts, rtol=1e-10, atol=1e-10)
        for forecast, optimiser in zip(forecasts, optimisers, strict=True):
            optimiser.zero_grad()
            (forecast - x[:, :, -1]).square().mean().backward()
            optimiser.step()
    theirs = plain.state_dict()
    for key, values in in_their_layout(ours).items():  # after steps, and running figures
        torch.testing.assert_close(values, theirs[key], rtol=1e-9, atol=1e-9, msg=key)
    x = x.transpose(1, 2)
    torch.testing.assert_close(ours.eval()(x.mT), plain.eval()(x), rtol=1e-9, atol=1e-9)
