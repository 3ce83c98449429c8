"""Stopped at any row and started again: as if there had been no break."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file
from watched import DAY, NAMES, TEST, TRAIN, csv, fitted, model

from lmmoe import live
from lmmoe.errors import DataError
from lmmoe.live import checksum, statefile
from lmmoe.live.model import Facts, Model

RULE = "spot:0.01"
ROUGH = TEST.copy()
ROUGH[60:90, 1] += 9  # an alarm
ROUGH[np.random.default_rng(0).random(ROUGH.shape) < 0.05] = np.nan


def stream(name="LightMMoE", **options):
    return live.Stream(model(name), threshold=RULE, accept_after=20, **options)


def walk(made, rows):
    return [made.step(row) for row in rows]


def same(first, second):
    """Whether steps are equal to the bit."""
    for one, other in zip(first, second, strict=True):
        assert (one.score == other.score or one.why) and one.event == other.event
        assert one.why == other.why
        assert np.array_equal(one.errors, other.errors) or one.errors is other.errors is None


NAMED = ("LightMMoE", "HMMoE", "PCA windows EWMA", "linear", "MTSExample")


@pytest.mark.parametrize("name", NAMED)
def test_at_a_row_in_an_alarm_too(name, tmp_path):
    whole, first = stream(name), stream(name)
    steps = walk(whole, ROUGH[:150])
    assert {"opened", "accepted"} <= {step.event for step in steps} or name != "LightMMoE"
    for cut in (0, 3, 70, 149):
        first, second = stream(name), stream(name)
        walk(first, ROUGH[:cut])
        first.save(tmp_path / "state.safetensors")
        second.load(tmp_path / "state.safetensors")
        same(walk(second, ROUGH[cut:150]), steps[cut:])
        assert second.counts == whole.counts and second.rows == whole.rows


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 200))
def test_at_any_row(cut):
    whole, first, second = stream(), stream(), stream()
    steps = walk(whole, ROUGH)
    walk(first, ROUGH[:cut])
    arrays, facts = first.state()
    second.restore(
        {name: array.copy() for name, array in arrays.items()}, json.loads(json.dumps(facts))
    )
    same(walk(second, ROUGH[cut:]), steps[cut:])
    assert second.alarm.threshold == whole.alarm.threshold


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 200))
def test_a_watch_at_any_line(cut):
    lines = csv(ROUGH)
    lines[100:100] = [b"garbage", lines[20], b""]
    whole, first, second = (watch() for _ in range(3))
    alarms = [whole.feed(line) for line in lines]
    for line in lines[:cut]:
        first.feed(line)
    arrays, facts = first.stream.state()
    facts = json.loads(json.dumps(facts | {"watch": first._state()}))
    second.stream.restore(arrays, facts)
    second._restore(facts["watch"])
    assert [second.feed(line) for line in lines[cut:]] == alarms[cut:]
    # A late row that comes right after the restart counts as one seen before it.
    late, seen = second.skipped.pop("late", 0), second.skipped.pop("seen before the restart", 0)
    assert late + seen == whole.skipped.pop("late", 0) and seen <= 1
    assert second.report() == whole.report()


def watch():
    return live.Watch(model(), threshold="quantile:0.9", tell=lambda text: None)


def test_a_watch_saves_and_loads(tmp_path):
    first, second = watch(), watch()
    for line in csv(ROUGH[:50]):
        first.feed(line)
    first.pending = ['{"row": 3}']
    second.load(first.save(tmp_path / "w.safetensors"))
    assert second.report() == first.report() and second.pending == first.pending
    rest = csv(ROUGH[50:], start=50, header=False)
    assert [second.feed(line) for line in rest] == [first.feed(line) for line in rest]


def test_a_state_is_small_at_38_channels(tmp_path):
    rows = np.random.default_rng(0).normal(size=(800, 38))
    names = tuple(f"a channel with a long name {n}" for n in range(38))
    for name in ("MTSExample", "PCA windows"):
        made = Model(fitted_on(name, rows), Facts.of(rows, names, rows_per_day=DAY))
        made = live.Watch(made, threshold="spot", tell=lambda text: None)
        for row in rows[:700]:
            made.feed(json.dumps(dict(zip(names, row.tolist(), strict=True))).encode())
        made.stream.tail.excesses = np.ones(512)
        assert made.save(tmp_path / "w.safetensors").stat().st_size < 16_000


def fitted_on(name, rows):
    from lmmoe import detectors

    return detectors.detector(name).fit(rows)


# --- what is refused ---


def test_another_models_state_is_refused(tmp_path):
    path = stream().save(tmp_path / "state.safetensors")
    with pytest.raises(DataError, match="that of a stream with another model"):
        stream("CAD").load(path)
    again = Model(fitted("LightMMoE", seed=1), Facts.of(TRAIN, NAMES, rows_per_day=DAY))
    with pytest.raises(DataError, match="another model"):
        live.Stream(again).load(path)


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.99])
def test_a_cut_state_is_refused(share, tmp_path):
    path = stream().save(tmp_path / "state.safetensors")
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataError, match="state.safetensors: not a readable state"):
        stream().load(path)


def test_other_files_are_refused(tmp_path):
    made = model()
    path = made.save(tmp_path / "model.safetensors")
    with pytest.raises(DataError, match="not a live state, or of another format"):
        stream().load(path)
    with pytest.raises(DataError, match="not a readable state"):
        stream().load(tmp_path / "none.safetensors")
    head = {"format": statefile.FORMAT, "facts": "[1"}
    save_file({"x": np.zeros(2)}, path, metadata=head)
    with pytest.raises(DataError, match="no checksum: damaged, or written by an older version"):
        stream().load(path)
    checksum.write(path, {"x": np.zeros(2)}, head)
    with pytest.raises(DataError, match="not a readable state"):
        stream().load(path)
    checksum.write(path, {"x": np.zeros(2)}, head | {"facts": "[1]"})
    with pytest.raises(DataError, match="its facts are no names with values"):
        stream().load(path)


@pytest.mark.parametrize(
    ("arrays", "facts"),
    [
        ({"window": np.zeros((3, 4), np.float32)}, {}),
        ({"window": np.full((8, 4), np.nan, np.float32)}, {}),
        ({"held": np.zeros(4, np.float32)}, {}),
        ({"held": None}, {}),
        ({"excesses": np.zeros((2, 2))}, {}),
        ({}, {"rows": "many"}),
        ({}, {"seen": None}),
        ({}, {"alarm": {}}),
        ({}, {"alarm": {"open": True, "quiet": "x"}}),
        ({}, {"tail": {"q": 1}}),
        ({}, {"counts": [1]}),
        ({}, {"counts": {"a": "b"}}),
    ],
    ids=str,
)
def test_a_state_that_does_not_fit_is_refused(arrays, facts, tmp_path):
    made = stream()
    walk(made, ROUGH[:30])
    path = made.save(tmp_path / "state.safetensors")
    kept = {k: v for k, v in (load_file(path) | arrays).items() if v is not None}
    _, old = statefile.read(path)
    statefile.write(path, kept, old | facts)
    with pytest.raises(DataError, match="the state does not fit the stream"):
        stream().load(path)


def test_another_rule_is_told_and_taken(tmp_path):
    path = watch().save(tmp_path / "w.safetensors")
    told = []
    made = live.Watch(model(), threshold="spot:0.01", tell=told.append)
    start = made.stream.alarm.threshold
    made.load(path)
    assert len(told) == 1 and made.stream.alarm.threshold == start
    assert told[0].startswith("the state was saved with the threshold quantile:0.9 (")
    assert told[0].endswith(f"from now on it is spot:0.01 ({start:.6g})")
    other = live.Watch(model(), threshold="spot:0.02", tell=told.append)
    own = other.stream.alarm.threshold
    other.load(made.save(path))
    assert other.stream.tail.q == 0.02 and other.stream.alarm.threshold == own


def test_rows_sent_again_after_a_restart_are_left_out(tmp_path):
    lines, first = csv(ROUGH), watch()
    alarms = [alarm for line in lines[:150] if (alarm := first.feed(line))]
    path = first.save(tmp_path / "w.safetensors")
    for start, again in ((140, 10), (1, 149), (150, 0)):  # tail's ten lines, the whole file, none
        second = watch()
        second.load(path)
        assert not any(second.feed(line) for line in lines[start:150])
        assert second.skipped.get("seen before the restart", 0) == again
        rest = [alarm["time"] for line in lines[150:] if (alarm := second.feed(line))]
        whole = watch()
        every = [alarm["time"] for line in lines if (alarm := whole.feed(line))]
        assert [alarm["time"] for alarm in alarms] + rest == every
        assert second.events == whole.events and second.scored == whole.scored


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_flipped_bytes_are_refused(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("flipped") / "w.safetensors"
    first = watch()
    for line in csv(ROUGH[:30]):
        first.feed(line)
    content = bytearray(first.save(path).read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    with pytest.raises(DataError, match="w.safetensors: "):
        watch().load(path)
