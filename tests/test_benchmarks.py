"""The benchmark programs: they take turns, count right, and say what they measured."""

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import entities, limit, measure
from benchmarks.training import Obvious
from lmmoe.detectors import detector

ROOT = Path(__file__).parents[1]
NETWORKS = ("LightMMoE", "CAD", "HMMoE")
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


@pytest.mark.parametrize("name", NETWORKS)
def test_torch_counts_the_same_but_for_the_gates_that_it_adds_up(name, monkeypatch):
    made, channels = detector(name), 5
    network = made._drawn(channels).eval()
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


@pytest.mark.parametrize("name", NETWORKS)
def test_the_obvious_network_has_the_size_of_ours(name):
    with torch.random.fork_rng():
        plain = Obvious(name, 38)
    ours = detector(name)._drawn(38)
    sizes = [sum(each.numel() for each in network.parameters()) for network in (ours, plain)]
    assert sizes[0] == sizes[1]
