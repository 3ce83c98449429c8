"""What work costs: what is measured, what is kept, and what is worked out from it."""

import math
import os
import platform
import threading
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from drawing import drawn
from small import FOREIGN, LIGHT, failing, make, series, tiny, waves

from lmmoe import paths
from lmmoe.detectors import detector, names
from lmmoe.report import cost, measure
from lmmoe.report.cost import QUICK, Effort
from lmmoe.report.measure import per_row, rows_for
from lmmoe.report.plots import cost as pictures
from lmmoe.report.profile import Profile

SHORT = Effort("short", repeats=2, seconds=0.01, call_seconds=0.001)
DETECTORS = {"LightMMoE": LIGHT, "MTSExample": {}, "random": {}}


# --- time and memory ---


def test_time_and_memory_of_a_block():
    before = threading.active_count()
    with measure.measured() as cost:
        held = bytearray(60_000_000)
        held[::4096] = bytes([1]) * len(held[::4096])  # touched pages only are resident
        time.sleep(0.12)
        del held
    assert 0.12 <= cost.seconds < 10 and 40 < cost.peak_mb < 200
    with pytest.raises(ZeroDivisionError), measure.measured() as cost:
        time.sleep(0.02)
        raise ZeroDivisionError
    assert cost.seconds >= 0.02 and cost.peak_mb < 40
    assert threading.active_count() == before


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="memory is given back by glibc only")
def test_memory_that_was_used_before_is_seen_again():
    above = []
    for _ in range(2):
        with measure.measured() as cost:
            # Small blocks: the C library keeps them when they are freed, all below one in use.
            blocks = [bytearray(1000) for _ in range(50_000)]
            time.sleep(5 * measure.INTERVAL)
            above.append(blocks[-1])
            del blocks
        assert 40 < cost.peak_mb < 80


def test_repetitions_end_by_number_or_by_the_clock_on_the_wall(monkeypatch):
    clock = {"own": 100.0, "wall": 100.0}
    monkeypatch.setattr(measure.time, "process_time", lambda: clock["own"])
    monkeypatch.setattr(measure.time, "perf_counter", lambda: clock["wall"])

    def work(own=0.5, wall=1.0):
        clock["own"] += own
        clock["wall"] += wall

    found = measure.repeated(work, 4, 99)
    assert found == {"seconds": 0.5, "wall_seconds": 1.0, "spread": 0.0, "repeats": 4}
    assert measure.repeated(work, 99, 2.5)["repeats"] == 3
    assert measure.repeated(work, 99, 0)["repeats"] == 1
    assert math.isnan(measure.repeated(work, 1, 9)["spread"])
    times = iter([3.0, 2.0])
    found = measure.repeated(lambda: work(next(times)), 3, 99, first=(1.0, 5.0))
    assert found == {"seconds": 2, "wall_seconds": 1, "spread": 1, "repeats": 3}


def elsewhere(rows, error=None):
    if error == "killed":
        os.kill(os.getpid(), 9)
    if error:
        raise ValueError(error)
    return {"sum": rows.sum(), "pid": os.getpid(), "threads": os.environ["OMP_NUM_THREADS"]}


def test_another_process_with_one_thread():
    rows = np.full((3, 2), 0.5)
    found = measure.isolated(elsewhere, rows)
    assert found["sum"] == 3 and found["pid"] != os.getpid() and found["threads"] == "1"
    with pytest.raises(ValueError, match="^too few rows$"):
        measure.isolated(elsewhere, rows, "too few rows")
    with pytest.raises(RuntimeError, match="terminated"):
        measure.isolated(elsewhere, rows, "killed")


# --- multiply-adds ---


def counted(name, rows=120, channels=38, **given):
    made = detector(name, **given).fit(np.random.default_rng(0).normal(size=(rows, channels)))
    return per_row(made, np.random.default_rng(1).normal(size=(120, channels)))


def family(*, c, w, e, k, h, o, t):
    """Convolutions, experts' layers, gates, mixture, towers."""
    convolutions = c * w * e * k[0] + sum(c * e * a * b for a, b in zip(k, k[1:], strict=False))
    inner, last = [c * k[-1], *h, o], [o, *t, 1]
    layers = e * sum(a * b for a, b in zip(inner, inner[1:], strict=False))
    towers = c * sum(a * b for a, b in zip(last, last[1:], strict=False))
    return convolutions + layers + c * w * e + c * e * o + towers


class TestMultiplyAdds:
    def test_networks_by_hand(self):
        # 19,456 + 188,416 + 2,432 + 9,728 + 39,520: 0.52 MFLOP a row, two for a multiply-add.
        assert counted("LightMMoE", epochs=0) == 259_552
        for name, sizes in {
            "CAD": {"w": 16, "e": 3, "k": [8], "h": [128], "o": 64, "t": [128]},
            "HMMoE": {"w": 20, "e": 8, "k": [16, 32], "h": [256, 128], "o": 128, "t": [32, 16]},
        }.items():
            assert counted(name, epochs=0) == family(c=38, **sizes)
        inputs = 16 * 38
        experts = 3 * (inputs * 64 + 64 * 32 + 32 * 32)
        assert counted("CAD-as-run", epochs=0) == experts + inputs * 3 + 32 * 38
        assert counted("USAD", epochs=0) == 4 * (608 * 304 + 304 * 152 + 152 * 40)
        # Four gates of 64 units over 38 inputs and 64 states, 30 rows; the last row is rebuilt.
        assert counted("LSTM-AE", epochs=0) == 30 * 4 * 64 * (38 + 64) + 64 * 38

    def test_simple_methods_by_hand(self):
        c, n = 38, 16 * 38
        assert counted("PCA") == 2 * 10 * c  # onto 10 directions and back
        assert counted("PCA windows", rows=700) == 30 * (n + c)
        assert counted("k-means", rows=700) == 50 * n
        assert counted("1-NN") == 108 * c  # nine tenths of 120 rows are learned
        assert counted("MTSExample") == counted("moving average") == c
        # The same map, so the same arithmetic, counted by two means.
        assert counted("ridge VAR", rows=700) == counted("linear", epochs=0)
        rows = waves(200)
        for name in names():
            found = per_row(tiny(name).fit(rows), rows)
            nothing = name in ("random", "row index", "IsolationForest", "SmartSimpleAD")
            assert np.isnan(found) if nothing or name == "range deviation" else found >= 4, name


def test_a_call_gets_what_stands_before_its_rows():
    made, rows = make("LightMMoE").fit(waves(60)), waves(60, seed=1)
    for batch in (1, 5):
        taken = rows_for(made, rows, batch, start=7)
        assert np.array_equal(taken, rows[7 : 7 + 8 + batch])
    made, rows = make("PCA").fit(waves(60)), waves(5, seed=1)
    assert np.array_equal(rows_for(made, rows, 12), np.vstack([rows, rows, rows[:2]]))


# --- every detector ---


@pytest.fixture
def tasks(monkeypatch, small_runs):
    """Do the work of other processes here, and note what it was."""
    done = []

    def here(task, *given):
        done.append(task.__name__)
        return task(*given)

    monkeypatch.setattr(measure, "isolated", here)
    return done


@pytest.fixture
def profile(tmp_path, monkeypatch):
    """Three detectors on made-up rows, in a project of its own."""
    (tmp_path / "lmmoe").mkdir()
    (tmp_path / "Snakefile").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Profile, "load", lambda self, entity: series())
    monkeypatch.setattr(Profile, "present", ["pump-1", "pump-2"])
    return Profile(profile="mine", dataset="own", detectors=DETECTORS)


def only(profile, *names, **settings):
    """The profile with these detectors, all with the same settings."""
    return profile.model_copy(update={"detectors": dict.fromkeys(names, settings)})


class TestTable:
    def test_every_column_of_a_network(self, profile, tasks):
        line = cost.table(profile, SHORT).loc["LightMMoE"]
        assert line["parameters"] == make("LightMMoE").fit(series().train).parameters
        shape = {"c": 4, "w": 8, "e": 2, "k": [2], "h": [8], "o": 4, "t": [3]}
        assert line["multiply_adds"] == family(**shape)
        assert (line["train_rows"], line["score_rows"], line["channels"]) == (300, 300, 4)
        assert not line["rescales"]
        numbers = pd.to_numeric(line.filter(regex="latency|seconds|rows_per").dropna())
        assert (numbers > 0).all() and line["latency_calls"] >= 20
        assert line["latency_p99_ms"] >= line["latency_p50_ms"] and line["process_mb"] > 50
        # What is learned is the file without the scores of the training rows.
        assert line["model_bytes"] - line["learned_bytes"] == 8 * 300

    def test_what_cannot_be_saved_has_no_size_and_no_memory_of_scoring(self, profile, tasks):
        pytest.importorskip("pyod")
        line = cost.table(only(profile, FOREIGN), SHORT).loc[FOREIGN]
        gaps = ["model_bytes", "learned_bytes", "inference_mb", "multiply_adds"]
        assert line[gaps].isna().all() and line["train_seconds"] > 0

    def test_nothing_is_measured_twice_but_failures_are_tried_again(
        self, profile, tasks, monkeypatch, tmp_path
    ):
        with monkeypatch.context() as context:
            failing(context, RuntimeError("no memory"))
            found = cost.table(profile, SHORT)
        assert found["error"].dropna().to_dict() == {"MTSExample": "RuntimeError: no memory"}
        assert found["train_seconds"].notna().tolist() == [True, False, True]
        tasks.clear()
        found = cost.table(profile, SHORT)
        assert found["error"].isna().all() and tasks == ["costs_of", "memory_of"]
        pd.testing.assert_frame_equal(cost.table(profile, SHORT), found)
        # Another effort, other settings: another measurement.
        for other, effort in (
            (profile, replace(SHORT, name="other")),
            (only(profile, "LightMMoE", **LIGHT | {"experts": 1}), SHORT),
        ):
            assert cost.table(other, effort)["key"]["LightMMoE"] != found["key"]["LightMMoE"]
        # Nor what is published.
        paths.figures("mine").mkdir(parents=True)
        found.assign(device="another").to_csv(paths.figures("mine") / "efficiency.csv")
        monkeypatch.setenv("LMMOE_CACHE", str(tmp_path / "empty"))
        assert set(cost.table(profile, SHORT)["device"]) == {"another"}

    def test_a_quick_one_measures_few_on_a_typical_entity(self, profile, tasks, monkeypatch):
        lengths = {"short": 100, "long": 300, "longer": 310, "longest": 320, "shorter": 90}
        monkeypatch.setattr(Profile, "present", list(lengths))
        monkeypatch.setattr(Profile, "load", lambda _, name: series(lengths[name], entity=name))
        many = only(profile, "row index", "MTSExample", "last value", "random")
        found = cost.table(many, replace(SHORT, name="quick"))
        assert list(found.index) == ["MTSExample", "random"] and set(found["entity"]) == {"long"}
        found = cost.table(many, SHORT, entity="short")
        assert set(found.index) == set(many.detectors) and set(found["train_rows"]) == {100}
        assert cost.effort_for(Profile()) == cost.effort_for(Profile(dataset="a")) == cost.QUICK
        assert cost.effort_for(Profile(dataset="asd")) == cost.FULL

    def test_one_detector_in_a_process_of_its_own(self, profile):
        found = cost.table(only(profile, "MTSExample"), SHORT).loc["MTSExample"]
        assert pd.isna(found["error"]) and found["multiply_adds"] == 4
        assert found["process_mb"] > 50 and found["train_seconds"] > 0


# --- growth and limits ---


def test_growth_is_measured_once(monkeypatch, tasks):
    monkeypatch.setattr(cost, "AXES", {"window": (2, 4, 8), "entities": (1, 3, 5)})
    monkeypatch.setattr(cost, "BASE", {"channels": 2, "rows": 240, "entities": 1})
    for _ in range(2):
        points, laws = cost.growth(QUICK)
    assert tasks == ["costs_at"]
    assert points["value"].tolist() == [4, 8, 3, 5, 3, 5]  # of PCA the second axis alone
    line = points.iloc[2]  # three models of 30 rows to score each, after a window of 16
    each = family(c=2, w=16, e=4, k=[8], h=[128], o=64, t=[16])
    assert line["rows"] == 46 and line["multiply_adds"] == 3 * 30 * each
    assert (points[["train_seconds", "score_seconds"]] > 0).all(axis=None)
    assert laws["points"].eq(2).all()


def test_limits_are_measured_once(monkeypatch, tasks):
    for name, value in {"SIDE": 32, "LARGE": 64, "CHANNELS": 3}.items():
        monkeypatch.setattr(cost, name, value)
    effort = replace(QUICK, batches=(1, 8), rounds=1)
    for _ in range(2):
        table, found = cost.limits(effort)
    assert tasks == ["measure_limits"]
    works = ("network", "detector", "training")
    assert set(table.index) == {(work, batch) for work in works for batch in (1, 8)}
    each = family(c=3, w=16, e=4, k=[8], h=[128], o=64, t=[16])
    assert table.loc[("network", 8), "operations"] == 2 * 8 * each
    assert table.loc[("training", 8), "operations"] == 3 * 2 * 8 * each
    assert (table["seconds"] > 0).all() and found.loc[0, "gflops"] > 0
    # Weights, rows read and forecasts; weights ten times, a window and its target for each row.
    weights = detector("LightMMoE", epochs=0).fit(waves(60, 3)).parameters
    assert table.loc[("network", 8), "bytes"] == 4 * (weights + 8 * 2 * 3)
    assert table.loc[("training", 8), "bytes"] == 4 * (10 * weights + 8 * 17 * 3)
    assert found["limit"].tolist() == ["sgemm", "sgemv", "sgemv", "sgemv"]


def test_training_is_the_difference_of_two_fits(monkeypatch):
    fits = []
    monkeypatch.setattr(measure, "once", lambda work: fits.append(work) or (3.0 + 8 * len(fits), 0))
    # 8 s for 16 steps of 64 windows, which come after the first 16 rows: half a second for a batch.
    assert cost.training_seconds(np.zeros((20, 2)), 64, (1, 2)) == 0.5
    assert [work.func.__self__.epochs for work in fits] == [1, 2]
    assert [len(work.args[0]) for work in fits] == [1040, 1040]
    # Single rows: 64 steps an epoch, three epochs more.
    assert cost.training_seconds(np.zeros((20, 2)), 1, (1, 4)) == pytest.approx(8 / 3 / 64)


# --- tables and pictures ---

KEYS = {"exponents": ["axis", "detector", "measure"], "limit_points": ["work", "batch"]}


def published(name):
    index = KEYS.get(name, "detector" if name in ("efficiency", "fleet") else 0)
    return pd.read_csv(paths.figures("smd") / f"{name}.csv", index_col=index)


def test_published_tables_follow_from_what_was_measured():
    laws, growth = published("exponents"), published("growth")
    near = {"rtol": 1e-6, "atol": 1e-6, "check_dtype": False}
    pd.testing.assert_frame_equal(cost.exponents(growth), laws, **near)
    sizes = pd.DataFrame(cost.sizes(cost.FULL)).drop(columns="settings")
    pd.testing.assert_frame_equal(growth[sizes.columns], sizes)
    points = published("limit_points")
    given = points[["seconds", "operations", "bytes"]]
    found = cost.held_to(given, published("limits"))
    pd.testing.assert_frame_equal(found, points, **near)
    fleet = {"machines": 1_000_000, "every": 60.0, "retrain_days": 30.0, "core_hour": 0.05}
    found = cost.fleet(published("efficiency"), **fleet)
    pd.testing.assert_frame_equal(found, published("fleet"), **near)


def test_exponents_by_hand():
    # In logarithms of the first: x = -1, 0, 1 and y = 0, 3, 0: slope 0, residuals -1, 2, -1, 6 over
    # one degree of freedom, over a sum of squares of 2: the root of 3. The upper half: from 3 to 0.
    points = pd.DataFrame({"axis": "rows", "detector": "a", "value": np.exp([-1.0, 0, 1])})
    points = points.assign(train_seconds=np.exp([0.0, 3, 0]), score_seconds=points["value"] ** 2)
    found = cost.exponents(points.assign(multiply_adds=[np.nan, 0, 5]))
    numbers = found[["exponent", "error", "upper", "upper_error"]].to_numpy()
    nan = np.nan
    expected = [[0, math.sqrt(3), -3, nan], [2, 0, 2, nan], [nan, nan, nan, nan]]
    np.testing.assert_allclose(numbers, expected, atol=1e-6)


def test_tables_and_pictures_that_people_see():
    table, points, limits = published("efficiency"), published("limit_points"), published("limits")
    shown, light = cost.shown(table), table.loc["LightMMoE"]
    assert shown.loc["LightMMoE", "train (s)"] == round(light["train_seconds"], 3)
    assert shown.loc["LightMMoE", "learned (kB)"] == round(light["learned_bytes"] / 1000, 1)
    assert "L2 norm (MTSExample)" in shown.index
    figure = drawn(lambda: pictures.costs(table))
    dots = [len(c.get_offsets()) for c in figure.axes[2].collections]
    assert sorted(dots) == [1] * len(table) + [3] * len(table)  # rows a second: one call filled
    left, right = drawn(lambda: pictures.roofline(points, limits)).axes
    assert [max(one.get_ydata()) for one in left.lines[:3]] == [limits["gflops"].max()] * 3
    assert list(right.lines[2].get_ydata()) == points.loc["training", "times_bound"].tolist()
    points, laws = published("growth"), published("exponents")
    figure = drawn(lambda: pictures.growth(points, laws))
    assert [ax.get_xlabel() for ax in figure.axes[5:7]] == ["channels", "rows in the window"]
    exponent = figure.axes[0].get_legend().texts[0].get_text()
    assert exponent == f"{laws.loc[('channels', 'LightMMoE', 'train_seconds'), 'upper']:.2f}"
