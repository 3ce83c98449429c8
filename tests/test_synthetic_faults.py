"""The faults of the generated fleet: where they lie and what each kind does to the values."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmmoe.data import synthetic_faults

TARGETS = synthetic_faults.Targets(
    single=tuple(range(10)), related=((1, 4),), leaking=((3, 5),), bursting=((0, 3), (2,))
)


def random(seed=0):
    return np.random.RandomState(seed)  # noqa: NPY002 the kind that the generator takes


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(2000, 13_000))
def test_plans_keep_their_bounds(seed, rows):
    faults = synthetic_faults.plan(rows, random(seed))
    assert {fault.kind for fault in faults} == set(synthetic_faults.KINDS)
    assert faults[0].start >= 100 and faults[-1].end <= rows - 20
    assert all(b.start - a.end >= 20 for a, b in zip(faults, faults[1:], strict=False))
    assert 0.03 <= sum(fault.end - fault.start for fault in faults) / rows <= 0.08
    for fault in faults:
        shortest, longest = synthetic_faults.LENGTHS[fault.kind]
        assert shortest <= fault.end - fault.start <= longest
    assert max(6, 10 * rows // 4000) <= len(faults) <= max(6, 13 * rows // 4000)


def injected(kind, length=20, seed=0):
    """One fault in waves: training half, changed and untouched test half, rows, channels."""
    phase, size = np.arange(10), 10 * (1 + np.arange(10) % 4)
    wave = 50 + size * np.sin(np.arange(3000)[:, None] / 100 + phase)
    train, test = wave[:2000], wave[2000:]
    fault = synthetic_faults.Fault(kind, 300, 300 + length)
    after, causes = synthetic_faults.inject(train, test, (fault,), TARGETS, random(seed))
    assert causes[0][:2] == (300, 300 + length)
    return train, after, test, slice(300, 300 + length), list(causes[0].channels)


@pytest.fixture
def calm(monkeypatch):
    """Without variation from row to row, so that sizes show."""
    monkeypatch.setattr(synthetic_faults, "RESTLESS", 0)


@pytest.mark.usefixtures("calm")
@pytest.mark.parametrize("seed", range(20))
def test_spike_by_three_to_six_deviations(seed):
    train, after, before, rows, channels = injected("spike", 3, seed)
    steps = (after - before)[rows, channels] / train.std(axis=0)[channels]
    assert 4 <= len(channels) <= 7
    assert np.allclose(steps, steps[0])
    assert 3 <= steps.min() and steps.max() <= 6


@pytest.mark.usefixtures("calm")
@pytest.mark.parametrize("seed", range(20))
def test_shift_by_one_and_a_half_to_three_deviations(seed):
    train, after, before, rows, channels = injected("shift", 20, seed)
    steps = (after - before)[rows, channels] / train.std(axis=0)[channels]
    assert 5 <= len(channels) <= 8
    assert np.allclose(steps, steps[0])
    assert 1.5 <= np.abs(steps).min() and np.abs(steps).max() <= 3


def test_shifts_go_both_ways_and_not_below_zero():
    signs = set()
    for seed in range(20):
        _, after, before, rows, channels = injected("shift", 20, seed)
        assert after.min() >= 0
        signs |= set(np.sign((after - before)[rows, channels].mean(axis=0)))
    assert signs == {-1, 1}


def test_restless_factors_vary_by_half_and_never_change_the_sign():
    factors = synthetic_faults._restless(np.zeros((20_000, 3)), random())
    assert (factors.min(), factors.max()) == (0, 2)
    assert abs(factors.mean() - 1) < 0.01
    # A standard normal cut at 2 has the variance 0.7385 + 4 * 0.0455, so half its root:
    assert abs(factors.std() - 0.48) < 0.01


@pytest.mark.parametrize(("kind", "length"), [("spike", 6), ("shift", 20), ("leak", 60)])
def test_loud_kinds_vary_in_each_row_and_channel_for_itself(kind, length):
    _, after, before, rows, channels = injected(kind, length)
    change = (after - before)[rows, channels]
    ratio = change[1:] / change[-1]
    assert (ratio.std(axis=0) > 0.1).all() and (ratio.std(axis=1) > 0).any()


@pytest.mark.parametrize("seed", range(5))
def test_stuck_repeats_the_row_before(seed):
    _, after, before, rows, channels = injected("stuck", 15, seed)
    assert len(channels) in (1, 2)
    assert (after[rows, channels] == before[299, channels]).all()


@pytest.mark.usefixtures("calm")
def test_leak_is_a_ramp_and_ends_at_once():
    train, after, before, rows, channels = injected("leak", 81)
    assert channels == [3, 5]
    rise = (after - before)[rows, channels] / train.std(axis=0)[channels]
    assert (rise[0] == 0).all()
    assert np.allclose(np.diff(rise, axis=0), rise[-1] / 80)
    assert np.isclose(*rise[-1]) and 3.5 <= rise[-1, 0] <= 5
    assert (after[381:] == before[381:]).all()


def test_relation_repeats_training_rows_far_off_but_as_loud():
    train, after, before, rows, channels = injected("relation", 20)
    assert channels == [1, 4]
    middle = after[rows, channels][4:-4]  # beyond the blend
    near = [s for s in range(1980) if np.allclose(train[s + 4 : s + 16, channels], middle)]
    assert near  # a stretch of the training half, of both channels at the same time
    mean, sd = train.mean(axis=0)[channels], train.std(axis=0)[channels]
    stretch, own = train[near[0] : near[0] + 20, channels], before[rows, channels]
    assert 1.9 <= np.abs((stretch - own) / sd).mean() <= 2.7
    loudness = [(((part - mean) / sd) ** 2).mean() for part in (stretch, own)]
    assert np.isclose(*loudness, atol=0.05)
    # The edges fade: one fifth of the way in the first row, as in the last.
    for row, source in ((300, near[0]), (319, near[0] + 19)):
        fade = before[row, channels] + (train[source, channels] - before[row, channels]) / 5
        assert np.allclose(after[row, channels], fade)


def test_duration_changes_nothing_here_and_takes_its_channels_in_order():
    wave = np.arange(4000.0).reshape(1000, 4)
    faults = tuple(synthetic_faults.Fault("duration", s, s + 5) for s in (10, 40))
    after, causes = synthetic_faults.inject(wave, wave, faults, TARGETS, random())
    assert (after == wave).all()
    assert causes == ((10, 15, (0, 3)), (40, 45, (2,)))
