"""The soak and the fuzz for some seconds, and what the latency program measures."""

import json
import sys
from contextlib import closing

import numpy as np
import pytest
import torch
from small import make, waves

from benchmarks import live, soak
from lmmoe.live import stream
from lmmoe.live.pipe import Metrics


def test_some_seconds_at_full_speed_leave_memory_flat():
    found = soak.soak(5.0)
    assert found["rows"] > 300 and found["growth_mb"] < 20
    assert found["state_goes_on"]
    assert found["report"]["mended"]["filled cells"]


def test_thousands_of_odd_lines_break_nothing():
    found = soak.fuzz(3000, seed=7)
    assert found["lines"] == 3000 and len(found["reports"]) == 3
    for report in found["reports"].values():
        assert {"wrong number of cells", "not JSON", "late"} <= report["skipped"].keys()
        assert {"cells of text", "lost columns"} <= report["mended"].keys()


def test_the_fuzz_notices_a_watch_that_raises(monkeypatch):
    def fails(self, past, rows, carry=None):
        raise ZeroDivisionError("broken")

    monkeypatch.setattr(stream.Sliding, "judge", fails)
    monkeypatch.setattr(soak, "WATCHED", ("MTSExample",))
    with pytest.raises(ZeroDivisionError, match="broken"):
        soak.fuzz(200)


def test_the_soak_notices_counts_that_do_not_add_up():
    made = soak.Watch(soak.model("MTSExample"), tell=str)
    assert made.feed(b",".join([b"9"] * soak.CHANNELS))
    soak._add_up(made, 1)
    with pytest.raises(AssertionError, match="'rows': 1, 'scored': 1"):
        soak._add_up(made, 0)
    made.rows += 1
    with pytest.raises(AssertionError, match="'rows': 2"):
        soak._add_up(made, 1)


def test_the_soak_notices_metrics_of_another_watch():
    made = soak.Watch(soak.model("MTSExample"), tell=str)
    other = soak.Watch(made.model, tell=str)
    made.feed(b",".join([b"9"] * soak.CHANNELS))
    with (
        closing(Metrics(other, 0)) as server,
        pytest.raises(AssertionError, match="tell of 1 rows"),
    ):
        soak._served(made, server.port)


def test_the_soak_as_a_program(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(soak, "WATCHED", ("MTSExample",))
    out = tmp_path / "soak.json"
    words = ["soak.py", "--seconds", "1", "--lines", "100", "--growth", "1000", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", words)
    soak.main()
    assert json.loads(out.read_text()) == json.loads(capsys.readouterr().out)
    monkeypatch.setattr(sys, "argv", [*words[:6], "-1000"])
    with pytest.raises(SystemExit, match="memory has grown"):
        soak.main()


@pytest.mark.parametrize("name", ["LightMMoE", "CAD"])
def test_the_plain_forward_pass_is_the_network(name):
    made = make(name, epochs=1).fit(waves(120))
    x = np.random.default_rng(0).normal(size=(4, made.window)).astype(np.float32)
    with torch.inference_mode():
        expected = made.network(torch.from_numpy(x)[None]).numpy()[0]
    assert np.allclose(live.PlainNumPy(made.network)(x), expected, atol=1e-6)


def test_a_turn_gives_median_and_tail_of_its_calls(monkeypatch):
    clock = iter(np.cumsum([0, 1] * 99 + [0, 100]))
    monkeypatch.setattr(live.time, "perf_counter", lambda: next(clock))
    found = live.calls_of(lambda: None, 100)(0)
    assert found["wall p50"] == 1 and 1 < found["wall p99"] < 100
    assert found["cpu p50"] >= 0


def test_rows_of_the_latency_program_say_what_was_asked_for(monkeypatch):
    rows = waves(600, channels=5)
    given = live.Given(rows, rows, np.zeros(600), "waves")
    monkeypatch.setattr(live, "find_spec", lambda name: None)  # without ONNX Runtime
    found = list(live._latency("LightMMoE", given, turns=2, calls=3))
    assert [row.bound[1] for row in found] == [1.3, 2.0, 5.0, 5.0, 16_000]
    assert found[0].yardstick == "forward pass of plain NumPy"
    assert 1000 < found[-1].ours.median < 16_000
    many = list(live._many(given, 70, turns=2))
    assert many[0].what == "LightMMoE, 70 streams in one step" and many[0].bound == (
        "at least",
        0.6,
    )
    assert live._other("PCA", given, 2, 3).unit == "µs"
