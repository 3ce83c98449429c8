"""What work costs: what is measured, what is kept, and what is worked out from it."""

import os
import threading
import time

import numpy as np
import pandas as pd
import pytest
from small import FOREIGN, LIGHT, failing, make, series, tiny, waves

from lmmoe import paths
from lmmoe.detectors import detector, names
from lmmoe.report import cost, measure
from lmmoe.report.cost import per_row, rows_for
from lmmoe.report.profile import Profile

SHORT = (2, 0.01, 0.001)


def test_time_and_memory_of_a_block():
    before = threading.active_count()
    with pytest.raises(ZeroDivisionError), measure.measured() as cost:
        held = bytearray(60_000_000)
        held[::4096] = bytes([1]) * len(held[::4096])  # touched pages only are resident
        time.sleep(0.12)
        del held
        raise ZeroDivisionError
    assert 0.12 <= cost.seconds < 10 and 40 < cost.peak_mb < 200
    assert threading.active_count() == before


def test_repetitions_end_by_number_or_by_the_clock_on_the_wall(monkeypatch):
    own = []
    monkeypatch.setattr(cost.time, "process_time", lambda: sum(own))
    monkeypatch.setattr(cost.time, "perf_counter", lambda: 10.0 * len(own))
    # They take 1, 2, 3, ... seconds, and 10 on the wall; 5 and 15 were taken before.
    for given, median, count in (
        ((4, 99), 2.5, 4),
        ((99, 25), 2, 3),
        ((99, 0), 1, 1),
        ((3, 99, 5.0), 2, 2),
        ((99, 25, 15.0), 8, 1),
    ):
        own.clear()
        assert cost.repeated(lambda: own.append(len(own) + 1), *given) == median
        assert len(own) == count


def elsewhere(rows, error=None):
    if error == "killed":
        os.kill(os.getpid(), 9)
    if error:
        raise ValueError(error)
    return {"sum": rows.sum(), "pid": os.getpid(), "threads": os.environ["OMP_NUM_THREADS"]}


def test_another_process_with_one_thread():
    rows = np.full((3, 2), 0.5)
    found = cost.isolated(elsewhere, rows)
    assert found["sum"] == 3 and found["pid"] != os.getpid() and found["threads"] == "1"
    for error, words in {"too few rows": "^too few rows$", "killed": "terminated"}.items():
        with pytest.raises((ValueError, RuntimeError), match=words):
            cost.isolated(elsewhere, rows, error)


def counted(name, rows=120, channels=38, **given):
    made = detector(name, **given).fit(np.random.default_rng(0).normal(size=(rows, channels)))
    return per_row(made, np.random.default_rng(1).normal(size=(120, channels)))


def test_multiply_adds_of_networks_by_hand():
    # 19,456 + 188,416 + 2,432 + 9,728 + 39,520: 0.52 MFLOP a row, two for a multiply-add.
    assert counted("LightMMoE", epochs=0) == 259_552
    # Convolutions, experts' layers, gates, mixture, towers.
    convolved, experts = 38 * 8 * 16 * (20 + 32), 8 * (38 * 32 * 256 + 256 * 128 + 128 * 128)
    towers = 38 * (128 * 32 + 32 * 16 + 16)
    assert counted("HMMoE", epochs=0) == convolved + experts + 38 * 8 * (20 + 128) + towers
    inputs = 16 * 38
    experts = 3 * (inputs * 64 + 64 * 32 + 32 * 32)
    assert counted("CAD-as-run", epochs=0) == experts + inputs * 3 + 32 * 38
    assert counted("USAD", epochs=0) == 4 * (608 * 304 + 304 * 152 + 152 * 40)
    # Four gates of 64 units over 38 inputs and 64 states, 30 rows; the last row is rebuilt.
    assert counted("LSTM-AE", epochs=0) == 30 * 4 * 64 * (38 + 64) + 64 * 38


def test_multiply_adds_of_simple_methods_by_hand():
    c, n = 38, 16 * 38
    assert counted("PCA") == 2 * 10 * c  # onto 10 directions and back
    assert counted("PCA windows", rows=700) == 30 * (n + c)
    assert counted("k-means", rows=700) == 50 * n
    assert counted("1-NN") == 108 * c  # nine tenths of 120 rows are learned
    assert counted("MTSExample") == counted("moving average") == c
    # The same map, so the same arithmetic, counted by two means.
    assert counted("ridge VAR", rows=700) == counted("linear", epochs=0)
    rows, none = waves(200), ("random", "row index", "IsolationForest", "SmartSimpleAD")
    for name in names():
        found = per_row(tiny(name).fit(rows), rows)
        assert np.isnan(found) if name in (*none, "range deviation") else found >= 4, name


def test_a_call_gets_what_stands_before_its_rows():
    made, rows = make("LightMMoE").fit(waves(60)), waves(60, seed=1)
    assert np.array_equal(rows_for(made, rows, 5, start=7), rows[7:20])
    made, rows = make("PCA").fit(waves(60)), waves(5, seed=1)
    assert np.array_equal(rows_for(made, rows, 12), np.vstack([rows, rows, rows[:2]]))


@pytest.fixture
def tasks(monkeypatch, small_runs):
    """Do the work of other processes here, and note what it was."""
    done = []

    def here(task, *given):
        done.append(task.__name__)
        return task(*given)

    monkeypatch.setattr(cost, "isolated", here)
    return done


@pytest.fixture
def profile(home, monkeypatch):
    """A profile of made-up rows, in a project of its own."""
    monkeypatch.setattr(Profile, "load", lambda self, entity: series())
    monkeypatch.setattr(Profile, "present", ["pump-1", "pump-2"])
    monkeypatch.setattr(cost, "EFFORTS", dict.fromkeys(("quick", "full"), SHORT))
    return Profile(profile="mine", dataset="own")


def table(profile, detectors, dataset="own", **given):
    """Measure these detectors: names, or names with settings."""
    detectors = detectors if isinstance(detectors, dict) else {name: {} for name in detectors}
    made = profile.model_copy(update={"detectors": detectors, "dataset": dataset})
    return cost.table(made, **given)


def test_every_column_of_a_network(profile, tasks):
    line = table(profile, {"LightMMoE": LIGHT}).loc["LightMMoE"]
    assert line["parameters"] == make("LightMMoE").fit(series().train).parameters
    numbers = line.filter(regex="latency|seconds|rows_per").astype(float)
    assert len(numbers) == 5 and (numbers > 0).all()
    # What is learned: 4 bytes a weight, and a head; not the scores of the training rows.
    assert 4 * line["parameters"] < line["learned_bytes"] < 4 * line["parameters"] + 2400


def test_what_cannot_be_saved_has_no_size_and_no_memory_of_scoring(profile, tasks):
    pytest.importorskip("pyod")
    line = table(profile, [FOREIGN]).loc[FOREIGN]
    assert line[["learned_bytes", "inference_mb", "multiply_adds"]].isna().all()
    assert tasks == ["costs_of"]


def test_one_that_fails_costs_no_other_and_alone_is_tried_again(profile, tasks, monkeypatch):
    three = {"LightMMoE": LIGHT, "MTSExample": {}, "random": {}}
    with monkeypatch.context() as context:
        failing(context, RuntimeError("no memory"))
        found = table(profile, three)
    assert found["error"].dropna().to_dict() == {"MTSExample": "RuntimeError: no memory"}
    assert found["train_seconds"].notna().tolist() == [True, False, True]
    tasks.clear()
    assert table(profile, three)["error"].isna().all() and tasks == ["costs_of", "memory_of"]


def test_a_quick_one_measures_few(profile, tasks, monkeypatch):
    monkeypatch.setattr(Profile, "load", lambda _, name: series(entity=name))
    many = ["row index", "MTSExample", "last value", "random"]
    found = table(profile, many)
    assert list(found.index) == ["MTSExample", "random"] and set(found["entity"]) == {"pump-1"}
    # Published data are measured for long, all detectors of them.
    monkeypatch.setattr(cost, "_measured", lambda *given: [{}])
    for dataset, effort in {"own": "quick", "synthetic": "quick", "asd": "full"}.items():
        found = table(profile, many, dataset, entity="pump-2")
        assert set(found["effort"]) == {effort} and set(found["entity"]) == {"pump-2"}
        assert list(found.index) == (many if effort == "full" else ["MTSExample", "random"])


def test_one_detector_in_a_process_of_its_own(profile):
    found = table(profile, ["MTSExample"]).loc["MTSExample"]
    assert found["multiply_adds"] == 4 and found["process_mb"] > 50 and found["train_seconds"] > 0


def test_the_published_fleet_follows_from_what_was_measured():
    folder = paths.figures("smd")
    measured, known = (
        pd.read_csv(folder / f"{name}.csv", index_col=0) for name in ("efficiency", "fleet")
    )
    fleet = {"machines": 1_000_000, "every": 60.0, "retrain_days": 30.0, "core_hour": 0.05}
    pd.testing.assert_frame_equal(cost.fleet(measured, **fleet), known, rtol=1e-6, atol=1e-6)
