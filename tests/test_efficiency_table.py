"""The table of costs: what is measured, what is kept, what is taken from the published one."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from safetensors import safe_open
from small import FOREIGN, LIGHT, failing, make, series, waves

from lmmoe import paths
from lmmoe.report import efficiency
from lmmoe.report.efficiency import child, hardware, measuring, timing
from lmmoe.report.efficiency import measurements as tables
from lmmoe.report.efficiency.timing import Effort
from lmmoe.report.params import Profile
from lmmoe.report.runs import Run

SHORT = Effort("short", repeats=2, seconds=0.01, calls=20, call_seconds=0.001)
DETECTORS = {"LightMMoE": LIGHT, "MTSExample": {}, "random": {}}


@pytest.fixture
def tasks(monkeypatch, small_runs):
    """Do children's work here, and note what it was."""
    done = []

    def here(task, spec, **arrays):
        done.append((task.__name__, spec["detector"], spec["settings"].get("device")))
        try:
            return task(spec, **arrays)
        except child.EXPECTED as error:
            raise child.ChildError(f"{type(error).__name__}: {error}") from error

    monkeypatch.setattr(child, "run", here)
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
    return efficiency.table(profile, **{"effort": SHORT, "second": ""} | changes)


class TestMeasured:
    def test_every_column_of_a_network(self, profile, tasks):
        line = measured(profile).loc["LightMMoE"]
        made = make("LightMMoE").fit(series().train)
        assert line["parameters"] == made.parameters
        # 4 channels, window 8, two experts of 2 kernels, 8 hidden units and 4 outputs, towers of 3.
        assert line["multiply_adds"] == 4 * 8 * 4 + 2 * (8 * 8 + 8 * 4) + 64 + 32 + 4 * (12 + 3)
        assert (line["train_rows"], line["score_rows"], line["channels"]) == (300, 300, 4)
        assert line["device"] == hardware.cpu_name()
        assert not line["rescales"] and pd.isna(line["error"])
        seconds = [name for name in tables.COSTS if "seconds" in name or "latency" in name]
        assert (line[seconds].astype(float) > 0).all()
        assert line["latency_calls"] == 20 and line["latency_p99_ms"] >= line["latency_p50_ms"]
        assert line["inference_mb"] >= 0 and line["process_mb"] > 50

    def test_what_is_learned_is_the_file_without_the_training_scores(self, tmp_path):
        made = make("LightMMoE").fit(waves(200))
        sizes = measuring.sizes(made, tmp_path / "model.safetensors")
        with safe_open(tmp_path / "model.safetensors", framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        header = sizes["model_bytes"] - sum(array.nbytes for array in arrays.values())
        assert 0 < header < 10_000
        assert arrays.pop("decision_scores").nbytes == 8 * 200
        assert sizes["learned_bytes"] == header + sum(array.nbytes for array in arrays.values())

    def test_what_cannot_be_saved_has_no_size_and_no_memory_of_scoring(self, profile, tasks):
        pytest.importorskip("pyod")
        line = measured(replace(profile, detectors={FOREIGN: {}})).loc[FOREIGN]
        assert line[["model_bytes", "learned_bytes", "inference_mb", "multiply_adds"]].isna().all()
        assert line["train_seconds"] > 0 and ("memory_of", FOREIGN, None) not in tasks

    def test_a_long_training_is_done_once(self, monkeypatch, small_runs):
        fits = []
        made = make("PCA")
        monkeypatch.setattr(measuring, "made", lambda spec, **changes: made)
        monkeypatch.setattr(type(made), "fit", lambda self, rows: fits.append(len(rows)))
        patient = replace(SHORT, repeats=3, seconds=1000)
        _, found, _ = measuring.trained({}, waves(50), patient)
        assert (found.repeats, len(fits)) == (3, 4)  # the first one's memory is watched
        _, found, _ = measuring.trained({}, waves(50), replace(SHORT, repeats=3, seconds=0))
        assert (found.repeats, len(fits)) == (1, 5)

    def test_warming_up_is_brief_and_keeps_an_untrained_one_untrained(self, monkeypatch):
        made = []
        monkeypatch.setattr(measuring, "made", lambda spec, **given: made.append(given) or FITS)
        for epochs, brief in ((5, {"epochs": 1}), (1, {}), (0, {})):
            measuring.warm({"settings": {"epochs": epochs}}, waves(900))
            assert made.pop() == brief and FITS.rows == 500
        measuring.warm({"settings": {}}, waves(20))
        assert made.pop() == {} and FITS.rows == 20


class Fits:
    def fit(self, rows):
        self.rows = len(rows)


FITS = Fits()


class TestKept:
    def test_nothing_is_measured_twice(self, profile, tasks):
        first = measured(profile)
        count = len(tasks)
        assert count == 6  # costs and memory of three
        pd.testing.assert_frame_equal(measured(profile), first)
        assert len(tasks) == count

    def test_it_goes_on_where_it_was_stopped(self, profile, tasks, monkeypatch):
        with monkeypatch.context() as patch:
            patch.setattr(timing, "latencies", None)
            patch.setattr(measuring, "latencies", stopped_at("MTSExample"))
            with pytest.raises(KeyboardInterrupt):
                measured(profile)
        tasks.clear()
        assert measured(profile)["error"].isna().all()
        assert [name for task, name, _ in tasks if task == "costs_of"] == ["MTSExample", "random"]

    @pytest.mark.parametrize(
        "changes", [{"effort": replace(SHORT, calls=21)}, {"effort": replace(SHORT, name="other")}]
    )
    def test_another_effort_is_another_measurement(self, profile, tasks, changes):
        measured(profile)
        count = len(tasks)
        measured(profile, **changes)
        assert len(tasks) == 2 * count

    def test_other_settings_code_or_measuring_are_other_measurements(
        self, profile, tasks, monkeypatch
    ):
        keys = [measured(profile)["key"]["MTSExample"]]
        for place in ("lmmoe.report.runs._code", "lmmoe.report.efficiency.measurements.code.key"):
            with monkeypatch.context() as patch:
                patch.setattr(place, lambda *names: "changed")
                keys.append(measured(profile)["key"]["MTSExample"])
        assert len(set(keys)) == 3
        other = replace(profile, detectors={"LightMMoE": LIGHT | {"experts": 1}})
        assert measured(other)["key"]["LightMMoE"] != measured(profile)["key"]["LightMMoE"]

    def test_a_failure_is_told_and_tried_again(self, profile, tasks, monkeypatch):
        with monkeypatch.context() as patch:
            failing(patch, RuntimeError("no memory"))
            found = measured(profile)
        assert found["error"].dropna().to_dict() == {"MTSExample": "RuntimeError: no memory"}
        assert found.loc["MTSExample", list(tables.COSTS)].isna().all()
        assert found.loc["random", "train_seconds"] > 0
        assert measured(profile)["error"].isna().all()


def stopped_at(name):
    """Latencies that end with the keyboard's interrupt for one detector."""

    def stopped(made, rows, effort):
        if made.name == name:
            raise KeyboardInterrupt
        return np.array([0.001]), 0.001

    return stopped


class TestPublished:
    def publish(self, table):
        file = paths.figures("mine") / "efficiency.csv"
        file.parent.mkdir(parents=True)
        table.to_csv(file, float_format="%.10g")

    def test_what_is_published_is_not_measured(self, profile, tasks, monkeypatch, tmp_path):
        first = measured(profile)
        self.publish(first.assign(device="another processor"))
        tasks.clear()
        monkeypatch.setenv("LMMOE_CACHE", str(tmp_path / "empty"))
        again = measured(profile)
        assert not tasks and set(again["device"]) == {"another processor"}
        numbers = [name for name in tables.COSTS if name != "device"]
        pd.testing.assert_frame_equal(
            again[numbers].astype(float), first[numbers].astype(float), rtol=1e-9
        )
        monkeypatch.setenv("LMMOE_FRESH", "1")
        assert set(measured(profile)["device"]) == {hardware.cpu_name()} and len(tasks) == 6

    def test_a_published_failure_is_tried_again(self, profile, tasks):
        first = measured(profile)
        self.publish(first.assign(error=["", "", "MemoryError: "]))
        assert measured(profile)["error"].isna().all()

    def test_reading_gives_back_what_was_written(self, profile, tasks, tmp_path):
        first = measured(profile)
        first.to_csv(tmp_path / "table.csv")
        found = tables.read(tmp_path / "table.csv")
        assert list(found) == list(first) and list(found.index) == list(first.index)
        assert found["settings"].to_dict() == first["settings"].to_dict()
        assert found["error"].isna().all() and found["second_key"].isna().all()
        assert tables.read(tmp_path / "none.csv").empty
        assert efficiency.published("mine").empty


class TestSecondDevice:
    def test_its_figures_have_columns_of_their_own(self, profile, tasks):
        found = measured(profile, second="cpu")
        line = found.loc["LightMMoE"]
        assert line["second_device"] == hardware.device_name("cpu")
        timed = [name for name in tables.SECOND if name not in ("second_key", "second_device")]
        assert (line[timed].astype(float) > 0).all()
        # Only networks can go elsewhere.
        assert found.loc["MTSExample", list(tables.SECOND)].isna().all()
        assert [task for task in tasks if task[0] == "second_of"] == [
            ("second_of", "LightMMoE", "cpu")
        ]

    def test_it_is_kept_for_itself(self, profile, tasks):
        alone = measured(profile)
        tasks.clear()
        both = measured(profile, second="cpu")
        assert [task for task, *_ in tasks] == ["second_of"]
        assert both["key"].equals(alone["key"])
        tasks.clear()
        measured(profile, second="cpu")
        assert not tasks

    def test_where_it_fails_the_processor_s_numbers_stay(self, profile, tasks, monkeypatch):
        def fails(spec, train, test):
            raise RuntimeError("out of its memory")

        monkeypatch.setattr(measuring, "second_of", fails)
        line = measured(profile, second="cpu").loc["LightMMoE"]
        assert line["error"] == "cpu: RuntimeError: out of its memory"
        assert line["train_seconds"] > 0 and pd.isna(line["second_train_seconds"])


class TestChoice:
    def test_effort_by_data(self):
        assert tables.effort_for(Profile()) == timing.QUICK
        assert tables.effort_for(Profile(dataset="asd")) == timing.FULL
        assert tables.effort_for(Profile(dataset="some folder")) == timing.QUICK

    def test_a_quick_one_measures_few(self, profile, tasks, monkeypatch):
        monkeypatch.setattr(timing, "QUICK", SHORT)
        many = replace(profile, detectors={"row index": {}, "MTSExample": {}, "last value": {}})
        assert list(measured(many).index) == ["MTSExample", "random"]
        assert set(measured(many, effort=replace(SHORT, name="long")).index) == set(many.detectors)

    def test_a_typical_entity_unless_named(self, profile, tasks, monkeypatch):
        lengths = {"short": 100, "long": 300, "longer": 310, "longest": 320, "shorter": 90}
        monkeypatch.setattr(Profile, "present", list(lengths))
        monkeypatch.setattr(
            Profile, "load", lambda self, name: series(rows=lengths[name], entity=name)
        )
        assert set(measured(profile)["entity"]) == {"long"}
        assert set(measured(profile, entity="short")["train_rows"]) == {100}


def test_one_detector_in_a_real_child():
    found = tables.row(Run(series(), "MTSExample"), SHORT)
    assert "error" not in found and found["multiply_adds"] == 4 and found["inference_mb"] >= 0
    assert found["process_mb"] > 50 and found["train_seconds"] > 0
