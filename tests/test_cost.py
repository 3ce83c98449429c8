"""What detectors cost: what is measured, what is kept, and what is worked out from it."""

import math
import os
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from drawing import drawn
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_costs import costs, growth, limits
from safetensors import safe_open
from small import FOREIGN, LIGHT, failing, make, series, tiny, waves

from lmmoe import paths
from lmmoe.detectors import detector, names
from lmmoe.report import cost, measure
from lmmoe.report.cost import Effort, multiply_adds, per_row, rows_for
from lmmoe.report.plots import cost as pictures
from lmmoe.report.profile import Profile

SHORT = Effort("short", repeats=2, seconds=0.01, call_seconds=0.001)
DETECTORS = {"LightMMoE": LIGHT, "MTSExample": {}, "random": {}}


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
def profile(tmp_path, monkeypatch):
    """Three detectors on made-up rows, in a project of its own."""
    (tmp_path / "lmmoe").mkdir()
    (tmp_path / "Snakefile").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Profile, "load", lambda self, entity: series())
    monkeypatch.setattr(Profile, "present", ["pump-1", "pump-2"])
    return Profile(profile="mine", dataset="own", detectors=DETECTORS)


def measured(profile, **changes):
    return cost.table(profile, **{"effort": SHORT, "second": ""} | changes)


class TestTable:
    def test_every_column_of_a_network(self, profile, tasks):
        found = measured(profile)
        line = found.loc["LightMMoE"]
        assert line["parameters"] == make("LightMMoE").fit(series().train).parameters
        # 4 channels, window 8, two experts of 2 kernels, 8 hidden units and 4 outputs, towers of 3.
        assert line["multiply_adds"] == 4 * 8 * 4 + 2 * (8 * 8 + 8 * 4) + 64 + 32 + 4 * (12 + 3)
        assert (line["train_rows"], line["score_rows"], line["channels"]) == (300, 300, 4)
        assert not line["rescales"] and pd.isna(line["error"])
        positive = [name for name in found if "latency" in name or "seconds" in name]
        positive = [name for name in positive if not name.startswith("second_")]
        positive += [f"rows_per_second_{batch}" for batch in cost.BATCHES]
        assert (line[positive].astype(float) > 0).all()
        assert line["latency_calls"] >= 20 and line["latency_p99_ms"] >= line["latency_p50_ms"]
        assert line["inference_mb"] >= 0 and line["process_mb"] > 50
        assert found["second_device"].isna().all()

    def test_what_is_learned_is_the_file_without_the_training_scores(self, tmp_path, small_runs):
        file, rows = tmp_path / "model.safetensors", waves(200)
        found = cost.costs_of(partial(make, "LightMMoE"), rows, rows, SHORT, file)
        with safe_open(file, framework="numpy") as opened:
            sizes = {name: opened.get_tensor(name).nbytes for name in opened.keys()}  # noqa: SIM118
        assert found["model_bytes"] == file.stat().st_size
        header = found["model_bytes"] - sum(sizes.values())
        assert sizes.pop("decision_scores") == 8 * 200
        assert found["learned_bytes"] == header + sum(sizes.values())

    def test_what_cannot_be_saved_has_no_size_and_no_memory_of_scoring(self, profile, tasks):
        pytest.importorskip("pyod")
        line = measured(profile.model_copy(update={"detectors": {FOREIGN: {}}})).loc[FOREIGN]
        assert line[["model_bytes", "learned_bytes", "inference_mb", "multiply_adds"]].isna().all()
        assert line["train_seconds"] > 0

    def test_nothing_is_measured_twice_but_failures_are_tried_again(
        self, profile, tasks, monkeypatch
    ):
        with monkeypatch.context() as context:
            failing(context, RuntimeError("no memory"))
            found = measured(profile)
        assert found["error"].dropna().to_dict() == {"MTSExample": "RuntimeError: no memory"}
        assert np.isnan(found.loc["MTSExample", "train_seconds"])
        assert found.loc["random", "train_seconds"] > 0
        tasks.clear()
        found = measured(profile)
        assert found["error"].isna().all() and tasks == ["costs_of", "memory_of"]
        pd.testing.assert_frame_equal(measured(profile), found)
        assert len(tasks) == 2
        # Another effort, other settings: another measurement.
        measured(profile, effort=replace(SHORT, name="other"))
        assert len(tasks) == 8
        other = profile.model_copy(update={"detectors": {"LightMMoE": LIGHT | {"experts": 1}}})
        assert measured(other)["key"]["LightMMoE"] != found["key"]["LightMMoE"]

    def test_what_is_published_is_not_measured(self, profile, tasks, monkeypatch, tmp_path):
        first = measured(profile)
        file = paths.figures("mine") / "efficiency.csv"
        file.parent.mkdir(parents=True)
        first.assign(device="another processor").to_csv(file)
        pd.testing.assert_frame_equal(
            cost.read(file)[["train_seconds"]], first[["train_seconds"]].astype(float)
        )
        tasks.clear()
        monkeypatch.setenv("LMMOE_CACHE", str(tmp_path / "empty"))
        again = measured(profile)
        assert not tasks and set(again["device"]) == {"another processor"}
        monkeypatch.setenv("LMMOE_FRESH", "1")
        assert set(measured(profile)["device"]) == {measure.cpu_name()} and len(tasks) == 6
        assert cost.read(tmp_path / "none.csv").empty

    def test_a_second_device_has_columns_of_its_own(self, profile, tasks, monkeypatch):
        line = measured(profile, second="cpu").loc["LightMMoE"]
        assert line["second_device"] == "cpu"
        timed = [f"second_{name}" for name in cost.SECOND if name != "device"]
        assert (line[timed].astype(float) > 0).all()
        assert tasks.count("costs_of") == 4  # only networks can go elsewhere
        # Where it fails, the processor's numbers stay.
        line = measured(profile, second="nowhere").loc["LightMMoE"]
        assert line["train_seconds"] > 0 and np.isnan(line["second_train_seconds"])
        assert line["second_device"].startswith("nowhere: ")

    def test_a_quick_one_measures_few_on_a_typical_entity(self, profile, tasks, monkeypatch):
        lengths = {"short": 100, "long": 300, "longer": 310, "longest": 320, "shorter": 90}
        monkeypatch.setattr(Profile, "present", list(lengths))
        monkeypatch.setattr(Profile, "load", lambda _, name: series(lengths[name], entity=name))
        many = profile.model_copy(
            update={"detectors": {"row index": {}, "MTSExample": {}, "last value": {}}}
        )
        found = measured(many, effort=replace(SHORT, name="quick"))
        assert list(found.index) == ["MTSExample", "random"] and set(found["entity"]) == {"long"}
        found = measured(many, entity="short")
        assert set(found.index) == set(many.detectors) and set(found["train_rows"]) == {100}
        assert cost.effort_for(Profile()) == cost.effort_for(Profile(dataset="a")) == cost.QUICK
        assert cost.effort_for(Profile(dataset="asd")) == cost.FULL

    def test_one_detector_in_a_process_of_its_own(self, profile):
        found = measured(
            profile.model_copy(update={"detectors": {"MTSExample": {}, "random": {}}})
        ).loc["MTSExample"]
        assert pd.isna(found["error"]) and found["multiply_adds"] == 4
        assert found["process_mb"] > 50 and found["train_seconds"] > 0


def test_a_call_gets_what_stands_before_its_rows():
    made, rows = make("LightMMoE").fit(waves(60)), waves(60, seed=1)
    assert made.min_rows == 9
    for batch in (1, 5):
        taken = rows_for(made, rows, batch, start=7)
        assert np.array_equal(taken, rows[7 : 7 + 8 + batch])
    made, rows = make("PCA").fit(waves(60)), waves(5, seed=1)
    assert np.array_equal(rows_for(made, rows, 12), np.vstack([rows, rows, rows[:2]]))


class TestIsolated:
    def test_it_is_another_process_with_one_thread(self):
        found = measure.isolated(where, np.full((3, 2), 0.5))
        assert found["sum"] == 3 and found["pid"] != os.getpid() and found["threads"] == "1"
        assert os.environ["OMP_NUM_THREADS"] == "1"  # of the tests

    def test_what_it_raises_arrives_and_a_killed_one_is_told(self):
        with pytest.raises(ValueError, match="^too few rows$"):
            measure.isolated(bad)
        with pytest.raises(RuntimeError, match="terminated"):
            measure.isolated(dies)


def where(rows):
    threads = os.environ["OMP_NUM_THREADS"]
    return {"sum": float(rows.sum()), "pid": os.getpid(), "threads": threads}


def bad():
    raise ValueError("too few rows")


def dies():
    os.kill(os.getpid(), 9)


def test_repetitions_end_by_number_or_by_the_clock_on_the_wall(monkeypatch):
    clock = {"own": 100.0, "wall": 100.0}
    monkeypatch.setattr(measure.time, "process_time", lambda: clock["own"])
    monkeypatch.setattr(measure.time, "perf_counter", lambda: clock["wall"])

    def work(own=0.5, wall=1.0):
        clock["own"] += own
        clock["wall"] += wall

    assert measure.repeated(work, 4, 99)[:2] == (0.5, 1.0)
    assert measure.repeated(work, 4, 99).repeats == 4
    assert measure.repeated(work, 99, 2.5).repeats == 3
    assert measure.repeated(work, 99, 0).repeats == 1
    assert math.isnan(measure.repeated(work, 1, 9).spread)
    # Median 2, from 1 to 3.
    times = iter([3.0, 2.0])
    found = measure.repeated(lambda: work(next(times)), 3, 99, first=(1.0, 5.0))
    assert found == (2, 1, 1, 3)


# --- multiply-adds ---


def fitted(name, rows=120, channels=38, **given):
    made = detector(name, **given)
    return made.fit(np.random.default_rng(0).standard_normal((rows, channels)))


def counted(made):
    return per_row(made, np.random.default_rng(1).standard_normal((120, made.n_features_in_)))


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
        assert counted(fitted("LightMMoE", epochs=0)) == 259_552
        for name, sizes in {
            "CAD": {"w": 16, "e": 3, "k": [8], "h": [128], "o": 64, "t": [128]},
            "HMMoE": {"w": 20, "e": 8, "k": [16, 32], "h": [256, 128], "o": 128, "t": [32, 16]},
        }.items():
            assert counted(fitted(name, epochs=0)) == family(c=38, **sizes)
        inputs = 16 * 38
        experts = 3 * (inputs * 64 + 64 * 32 + 32 * 32)
        assert counted(fitted("CAD-as-run", epochs=0)) == experts + inputs * 3 + 32 * 38
        coder = 608 * 304 + 304 * 152 + 152 * 40
        assert counted(fitted("USAD", epochs=0)) == 4 * coder
        # Four gates of 64 units over 38 inputs and 64 states, 30 rows; the last row is rebuilt.
        assert counted(fitted("LSTM-AE", epochs=0)) == 30 * 4 * 64 * (38 + 64) + 64 * 38

    @given(st.integers(1, 5), st.integers(1, 6), st.integers(2, 9))
    @settings(max_examples=8, deadline=None)
    def test_any_sizes(self, experts, tower, window):
        small = {"experts": experts, "kernels": 3, "hidden": 5, "out": 4, "tower": tower}
        made = fitted("LightMMoE", rows=30, channels=3, epochs=0, window=window, **small)
        shape = {"c": 3, "w": window, "e": experts, "k": [3], "h": [5], "o": 4, "t": [tower]}
        assert counted(made) == family(**shape)

    def test_simple_methods_by_hand(self):
        c, n = 38, 16 * 38
        assert counted(fitted("PCA")) == 2 * 10 * c  # onto 10 directions and back
        assert counted(fitted("PCA windows", rows=700)) == 30 * (n + c)
        assert counted(fitted("k-means", rows=700)) == 50 * n
        assert counted(fitted("1-NN")) == 108 * c  # nine tenths of 120 rows are learned
        assert counted(fitted("MTSExample")) == counted(fitted("moving average")) == c
        # The same map, so the same arithmetic, counted by two means.
        assert counted(fitted("ridge VAR", rows=700)) == counted(fitted("linear", epochs=0))
        for name in ("random", "row index", "IsolationForest", "SmartSimpleAD"):
            assert np.isnan(counted(fitted(name)))

    def test_every_detector_gives_a_number_or_none(self):
        rows = waves(200)
        for name in names():
            found = per_row(tiny(name).fit(rows), rows)
            assert np.isnan(found) or found >= rows.shape[1], name

    def test_operations_of_torch(self):
        a, b = torch.ones(3, 5), torch.ones(5, 7)
        assert multiply_adds(torch.matmul, a, b) == 105
        assert multiply_adds(torch.add, a, 1) == 0
        assert multiply_adds(torch.nn.Conv1d(2, 4, 3), torch.ones(1, 2, 10)) == 2 * 4 * 3 * 8
        with torch.inference_mode():
            assert multiply_adds(torch.nn.Linear(4, 6), torch.ones(2, 4)) == 48


# --- growth ---


def test_sizes():
    found = pd.DataFrame(cost.sizes(cost.FULL))
    light = found[found["detector"] == "LightMMoE"]
    assert set(light["axis"]) == set(cost.AXES)
    channels = light[light["axis"] == "channels"]["channels"]
    assert (channels.min(), channels.max()) == (10, 1000)
    assert set(found[found["detector"] == "PCA"]["axis"]) == {"channels", "rows", "entities"}
    # As many rows to learn from, whatever stands before the first of them.
    windows = [one.get("window", 16) for one in light["settings"]]
    assert set((light["rows"] - windows)[light["axis"] != "rows"]) == {2000}
    # 16 times 316 numbers are too many for a matrix of all their pairs.
    assert found[found["detector"] == "PCA windows"]["channels"].max() == 100
    quick = pd.DataFrame(cost.sizes(cost.QUICK))
    assert len(quick) < len(found) / 2 and quick["channels"].max() == 316


def test_a_size_is_measured():
    size = {"axis": "entities", "value": 3, "detector": "LightMMoE", "channels": 2}
    size |= {"settings": {"epochs": 0, "window": 4}, "rows": 30, "entities": 3}
    [line] = cost.costs_at([size], SHORT)["points"]
    # Two channels: convolutions 256, experts' layers 40,960, gates 32, mixture 512, towers.
    each = 2 * 4 * 32 + 4 * (16 * 128 + 128 * 64) + 2 * 16 + 2 * 4 * 64 + 2 * (64 * 16 + 16)
    assert line["multiply_adds"] == 3 * 26 * each
    assert line["train_seconds"] > 0 and line["score_seconds"] > 0


def test_growth_is_measured_once(monkeypatch):
    asked = []

    def here(task, sizes, effort):
        asked.append(task)
        return {"points": [size | dict.fromkeys(cost.MEASURES, 1.0) for size in sizes]}

    monkeypatch.setattr(cost, "isolated", here)
    points, laws = cost.growth(cost.QUICK)
    assert len(points) == len(cost.sizes(cost.QUICK))
    assert laws["exponent"].to_numpy() == pytest.approx(0)
    cost.growth(cost.QUICK)
    assert asked == [cost.costs_at]


def test_exponents_by_hand():
    # In logarithms of the first: x = -1, 0, 1 and y = 0, 3, 0: slope 0, residuals -1, 2, -1, 6 over
    # one degree of freedom, over a sum of squares of 2: the root of 3.
    sizes = np.exp([-1.0, 0, 1])
    columns = {"train_seconds": np.exp([0.0, 3, 0]), "score_seconds": 3 * sizes**2}
    points = pd.DataFrame({"axis": "rows", "detector": "a", "value": sizes} | columns)
    found = cost.exponents(points.assign(multiply_adds=[np.nan, 0, 5])).loc[("rows", "a")]
    assert found.loc["train_seconds", "exponent"] == pytest.approx(0)
    assert found.loc["train_seconds", "error"] == pytest.approx(math.sqrt(3))
    # The upper half is the last two: from 3 down to 0 in logarithms; two points have no error.
    assert found.loc["train_seconds", "upper"] == pytest.approx(-3)
    assert math.isnan(found.loc["train_seconds", "upper_error"])
    assert found.loc["score_seconds", "exponent"] == pytest.approx(2)
    assert math.isnan(found.loc["multiply_adds", "exponent"])  # one size is known


# --- a fleet, tables and pictures ---


def test_a_fleet_by_hand():
    columns = {"rows_per_second_1": [100.0, 1000, np.nan], "train_seconds": [864.0, 0, np.nan]}
    columns["rows_per_second_256"] = [1000.0, 1000, np.nan]
    columns["learned_bytes"] = [1e6, np.nan, np.nan]
    table = pd.DataFrame(columns, index=["slow", "quick", "failed"])
    found = cost.fleet(table, machines=6000, every=60, retrain_days=10, core_hour=0.1)
    assert list(found.index) == ["quick", "slow", "failed"]
    # 100 rows a second: a core row by row. 6,000 trainings of 864 s in 864,000 s: six cores.
    slow = found.loc["slow"]
    assert slow[["cores_row", "cores_batch", "cores_training"]].tolist() == [1, 0.1, 6]
    assert slow["a_year"] == pytest.approx(7 * 8766 * 0.1)
    assert slow["a_year_batch"] == pytest.approx(6.1 * 8766 * 0.1)
    assert slow["models_gb"] == 6
    assert found.loc["failed"].isna().all()


def test_people_read_units():
    table = cost.shown(costs(second_train_seconds=[2.0, None, None, None, None]))
    light = table.loc["LightMMoE"]
    assert light["train (s)"] == 10 and light["one row alone (ms)"] == 0.5
    assert light["learned (kB)"] == 500 and light["second device, train (s)"] == 2
    assert "L2 norm (MTSExample)" in table.index and table.loc["PCA"].isna().all()
    assert "second device, train (s)" not in cost.shown(costs())


def test_the_audit_s_evidence():
    light = cost.evidence(costs()).set_index("detector").loc["LightMMoE"]
    assert light.to_dict() == {
        "latency_ms": 0.5,
        "samples_per_second": 256_000,
        "inference_mb": 8,
        "process_mb": 300,
    }
    assert cost.evidence(costs().loc[["PCA"]]) is None  # it failed


def test_pictures():
    figure = drawn(lambda: pictures.costs(costs()))
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == ["HMMoE", "LightMMoE", "L2 norm (MTSExample)", "random scores"]
    dots = [len(c.get_offsets()) for c in figure.axes[2].collections]
    assert sorted(dots) == [1] * 4 + [3] * 4  # rows a second: 1 by 1 filled, three batches not
    [text] = drawn(lambda: pictures.costs(costs().loc[["PCA"]])).axes[0].texts
    assert text.get_text() == "No detector could be measured."
    points, found = limits()
    left, right = drawn(lambda: pictures.roofline(points, found)).axes
    assert [max(one.get_ydata()) for one in left.lines[:3]] == [100.0] * 3
    shown = {one.get_label(): list(one.get_ydata()) for one in right.lines}
    assert shown["training"] == pytest.approx([10, 2, 2])
    figure = drawn(lambda: pictures.growth(*growth()))
    assert [ax.get_xlabel() for ax in figure.axes[2:]] == ["channels", "rows"]
    assert [t.get_text() for t in figure.axes[0].get_legend().texts] == ["2.00", "2.00"]
