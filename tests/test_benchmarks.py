"""The benchmark programs: they take turns, count right, and say what they measured."""

import json
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from naive import best_f1, cases, vus

from benchmarks import arithmetic, entities, loops, measure
from benchmarks import given as given_rows
from lmmoe import detectors, metrics

ROOT = Path(__file__).parents[1]
PROGRAMS = {
    "imports": {"import lmmoe", "a first detector"},
    "memory": {
        "memory of training LightMMoE, beyond the imports",
        "memory of training LightMMoE, beyond a first small fit",
    },
    "metrics": {"five best F1s, 4,000 rows", "VUS-ROC and VUS-PR, window 4, 4,000 rows"},
    "scoring": {"LightMMoE, scoring a row of a series"},
    "limit": {f"LightMMoE, training a window, batch {batch}" for batch in (64, 256, 1024)},
    "training": {
        "LightMMoE, 5 steps, batch 64",
        "CAD, 5 steps, batch 128",
        "HMMoE, 5 steps, batch 32",
    },
    "entities": {f"LightMMoE, a step of batch 64, {count} entities" for count in (1, 4, 16)},
}


def check(name, rows):
    assert {row["what"] for row in rows} == PROGRAMS[name]
    for row in rows:
        assert row["threads"] == 1 and row["reached"] is None
        assert row["unit"] and row["yardstick"]
        for key in ("ours", "theirs", "compared"):
            if row[key] is not None:
                assert row[key]["low"] <= row[key]["median"] <= row[key]["high"]
                assert row[key]["turns"] == 1
        for far in ("largest difference", "largest difference of a score, relative"):
            assert row["remarks"].get(far, 0) < 1e-5


@pytest.mark.parametrize("name", [name for name in PROGRAMS if name != "imports"])
def test_every_program_measures_what_it_says(name, tmp_path, monkeypatch):
    monkeypatch.setenv("LMMOE_DATA", str(tmp_path / "none"))  # anyone can run it
    monkeypatch.chdir(ROOT)
    rows = import_module(f"benchmarks.{name}").rows(quick=True)
    rows = [measure.as_json(row, 1, quick=True) for row in rows]
    check(name, json.loads(json.dumps(rows)))
    if name == "scoring" and all(map(find_spec, ("onnx", "onnxruntime", "onnxscript"))):
        assert "ONNX Runtime, batch" in rows[1]["yardstick"]
        assert len(rows[1]["remarks"]["by batch, µs"]) == 4


def test_stacked_entities_learn_what_they_learn_one_by_one(monkeypatch, tmp_path):
    monkeypatch.setenv("LMMOE_DATA", str(tmp_path / "none"))
    windows, targets = entities.examples(3)
    assert windows.shape == (3, 64, 38, 16) and targets.shape == (3, 64, 38)
    rows = given_rows.machine().train
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


def test_quick_runs_print_tables_and_leave_files(tmp_path, monkeypatch):
    monkeypatch.setenv("LMMOE_DATA", str(tmp_path / "none"))
    out = tmp_path / "out"
    words = [sys.executable, "-m", "benchmarks", "imports", "--quick", "--out", str(out)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert {file.name for file in out.iterdir()} == {"imports.json"}
    found = json.loads((out / "imports.json").read_text(encoding="utf-8"))
    assert found["program"] == "imports" and found["quick"] is True
    where = found["environment"]
    assert where["processor"] and where["date"][:2] == "20" and where["load"].keys() == {"1"}
    assert where["versions"]["numpy"] == np.__version__
    check("imports", found["rows"])
    assert all(row["what"] in done.stdout for row in found["rows"])
    assert "imports (quick: the figures mean nothing)" in done.stdout


def test_a_program_that_fails_is_named_and_leaves_no_file(tmp_path):
    out = tmp_path / "out"
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nif '--child' in sys.argv: sys.exit('no luck')\n"
    )
    words = [sys.executable, "-m", "benchmarks", "metrics", "--quick", "--out", str(out)]
    environment = {"PYTHONPATH": str(tmp_path), "PATH": ""}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert "no luck" in done.stderr and "metrics failed on 1 threads" in done.stderr
    assert not out.exists()
    words[3] = "nosuch"
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "nosuch" in done.stderr


def test_programs_take_turns_after_one_that_does_not_count():
    calls = []

    def program(name):
        return lambda turn: calls.append((name, turn)) or {"seconds": len(calls), "other": turn}

    found = measure.in_turn({name: program(name) for name in "AB"}, 2)
    assert calls == [("A", 0), ("B", 0), ("A", 0), ("B", 0), ("A", 1), ("B", 1)]
    assert found == {
        "A": {"seconds": [3, 5], "other": [0, 1]},
        "B": {"seconds": [4, 6], "other": [0, 1]},
    }
    calls.clear()
    assert measure.in_turn({"A": program("A")}, 1, warm=False) == {
        "A": {"seconds": [1], "other": [0]}
    }


def test_spreads_ratios_and_bounds():
    spread = measure.Spread.of([4.0, 1.0, 2.0, 3.0, 5.0])
    assert (spread.low, spread.median, spread.high, spread.turns) == (2, 3, 4, 5)
    # Turn by turn: the ratio of the medians would be 2 / 10.
    assert measure.ratio([1.0, 20.0, 2.0], [10.0, 10.0, 40.0]).median == pytest.approx(0.1)
    with pytest.raises(ValueError):
        measure.ratio([1.0], [1.0, 2.0])
    for kind, value, reached in (
        ("at least", 3.0, True),
        ("at least", 3.1, False),
        ("at most", 3.0, True),
        ("at most", 2.9, False),
    ):
        row = measure.Row("w", "s", spread, compared=spread, bound=(kind, value))
        assert row.reached is reached
        assert measure.as_json(row, 2, quick=False)["reached"] is reached
        assert measure.as_json(row, 2, quick=True)["reached"] is None
        (head, line) = measure.table([measure.as_json(row, 2, quick=False)]).splitlines()
        assert line.split()[:3] == ["w", "2", "3"] and f"{kind} {value:.3g}" in line
        assert line.endswith("reached" if reached else "MISSED") and "compared" in head
    assert measure.Row("w", "s", spread, bound=("at most", 1.0)).reached is None
    assert measure.Row("w", "s", spread, compared=spread).reached is None


def test_short_work_is_repeated(monkeypatch):
    clock = iter(np.cumsum([0, 0.1, 1, 0.5, 1, 0.2, 1, 0.9, 1, 0.9]))
    monkeypatch.setattr(measure.time, "perf_counter", lambda: next(clock))
    calls = []
    assert measure.seconds(lambda: calls.append(1)) == pytest.approx(0.1) and len(calls) == 1
    # 0.5, 0.2 and 0.9 seconds: the median of them, once there is a second together.
    assert measure.seconds(lambda: calls.append(1), 1.0) == pytest.approx(0.5) and len(calls) == 4


@settings(deadline=None, max_examples=25)
@given(cases())
def test_the_loops_are_right(case):
    labels, scores = case
    labels, scores = np.array(labels), np.array(scores)
    for adjust in (None, "point", "log", "squeeze", "sqrt"):
        expected = float(best_f1(case[0], case[1], adjust)[0])
        assert loops.best_f1(labels, scores, adjust) == pytest.approx(expected, rel=1e-12)
    for window in (0, 1, 6):
        expected = vus(case[0], case[1], window)
        assert loops.vus(labels, scores, window) == pytest.approx(expected, rel=1e-12)


def test_the_loops_give_what_the_package_gives_on_a_long_series():
    random = np.random.default_rng(0)
    labels = (np.arange(3000) % 700 > 640).astype(np.int8)
    scores = random.normal(size=3000) + labels
    found = metrics.best_f1s(labels=labels, scores=scores, adjust=["point", "log", None])
    for adjust, best in found.items():
        assert loops.best_f1(labels, scores, adjust) == pytest.approx(best.f1, rel=1e-12)
    fast = metrics.vus(labels=labels, scores=scores, window=20)
    assert loops.vus(labels, scores, 20) == pytest.approx(fast, rel=1e-12)


def test_the_arithmetic_of_the_three_networks_by_hand():
    light = 38 * 16 * 4 * 8 + 2 * (38 * 16 * 4) + 4 * (304 * 128 + 128 * 64)
    light += 38 * 4 * 64 + 38 * (64 * 16 + 16)
    cad = 38 * 16 * 3 * 8 + 38 * 16 * 3 + 3 * (304 * 128 + 128 * 64)
    cad += 38 * 3 * 64 + 38 * (64 * 128 + 128)
    hmmoe = 38 * 20 * 8 * 16 + 8 * 38 * 16 * 32 + 2 * (38 * 20 * 8)
    hmmoe += 8 * (38 * 32 * 256 + 256 * 128 + 128 * 128)
    hmmoe += 38 * 8 * 128 + 38 * (128 * 32 + 32 * 16 + 16)
    for name, count in (("LightMMoE", light), ("CAD", cad), ("HMMoE", hmmoe)):
        assert arithmetic.flop(detectors.detector(name), 38) == 2 * count
    # 0.52 million operations to score a window, 1.57 to train on one.
    assert 2 * light == 523_968 and arithmetic.TRAINING * 2 * light == 1_571_904


@pytest.mark.parametrize("name", ["LightMMoE", "CAD", "HMMoE"])
def test_torch_counts_the_same_but_for_the_gates_that_it_adds_up(name):
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    made, channels = detectors.detector(name), 5
    network = made._build(channels, torch.Generator()).eval()
    with FlopCounterMode(display=False) as counter:
        network(torch.zeros(7, channels, made.window))
    products = arithmetic.products(made, channels)
    gates = [each for each in products if "gate" in each.name]
    twice = sum(gate.multiply_adds for gate in gates[1:])
    assert counter.get_total_flops() == 7 * (arithmetic.flop(made, channels) - 2 * twice)


def test_only_the_parts_that_were_thought_of_are_counted():
    for settings_ in ({"tower": []}, {"gate": "mean"}, {"expert": "series"}):
        with pytest.raises(NotImplementedError, match="counted are window experts"):
            arithmetic.flop(detectors.detector("LightMMoE", **settings_), 3)


@pytest.mark.parametrize("name", ["LightMMoE", "HMMoE"])
def test_the_products_in_their_own_shapes_are_all_multiplied(name, monkeypatch):
    import torch

    made, done = detectors.detector(name), []
    inner = torch.bmm

    def counting(left, right, *, out):
        done.append(2 * left.shape[0] * left.shape[1] * left.shape[2] * right.shape[2])
        return inner(left, right, out=out)

    monkeypatch.setattr(torch, "bmm", counting)
    for train, times in ((False, 1), (True, arithmetic.TRAINING)):
        done.clear()
        arithmetic.own_seconds(made, 5, 4, 0.0, train=train)
        assert sum(done) == 4 * times * arithmetic.flop(made, 5)
