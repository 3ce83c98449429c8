"""The generated fleet: the same everywhere, like a server, and neither too easy nor hopeless."""

import numpy as np
import pytest
from made_up import fails
from sklearn.metrics import average_precision_score, roc_auc_score

from lmmoe import data, detector
from lmmoe.data import synthetic
from lmmoe.data.synthetic import CHANNELS, INDEX, KINDS, LENGTHS, SERVERS

FLEET = tuple(SERVERS)
IDS = {
    "web-1": "ef0d18de43c4",
    "db-1": "cb68e74b6300",
    "cache-1": "688eed448791",
    "batch-1": "2fb8a5776c47",
}


@pytest.fixture(scope="module")
def fleet():
    return {entity: synthetic.generate(entity) for entity in FLEET}


def scaled(series, values):
    sd = series.train.std(axis=0)
    return (values - series.train.mean(axis=0)) / np.where(sd == 0, 1, sd)


# --- the same everywhere ---


def test_it_is_listed_and_read_without_any_file(tmp_path, fleet):
    assert data.entities("synthetic", tmp_path / "nothing") == sorted(FLEET)
    for name in FLEET:
        series = data.load("synthetic", name, tmp_path / "nothing")
        assert (series.dataset, series.entity, series.rows_per_day) == ("synthetic", name, 1440)
        assert data.files("synthetic", name, tmp_path) == []
        assert series.id == fleet[name].id


def test_bad_arguments():
    for arguments, message in (
        (("web-9",), "no generated server 'web-9'. There are web-1, db-1, cache-1, batch-1"),
        (("web-1", 0, 1999), "1999 rows are too few. Take at least 2000"),
        (("web-1", -1), "seed -1 is out of range. Take one from 0 to 2**32 - 1"),
        (("web-1", 2**32), "seed 4294967296 is out of range. Take one from 0 to 2**32 - 1"),
    ):
        for function in (synthetic.generate, synthetic.kinds):
            with fails(message):
                function(*arguments)


def test_stored_values(fleet):
    # Printed once: a change of any of them is a change of the data set.
    web, batch = fleet["web-1"], fleet["batch-1"]
    start = [31.9133, 11.3581, 2.7747, 3.5214]
    np.testing.assert_allclose(web.train[0, :4], start, atol=1e-6)
    later = [65.1967, 11.6525, 15.8344, 23.7871]
    np.testing.assert_allclose(web.test[2000, 8:12], later, atol=1e-6)
    end = [161.0, 986.0, 182.0, 101.9811]
    np.testing.assert_allclose(batch.train[3999, 15:19], end, atol=1e-6)
    assert web.events[:4] == [(299, 305), (726, 738), (828, 855), (922, 933)]
    assert synthetic.kinds("web-1")[:4] == ("spike", "shift", "duration", "stuck")
    assert {name: series.id for name, series in fleet.items()} == IDS


def test_seeds_differ_and_leave_the_global_stream_alone(fleet):
    before = np.random.get_state()[1].copy()  # noqa: NPY002 it is what must not move
    other = synthetic.generate("web-1", seed=1)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002
    assert other.events != fleet["web-1"].events
    assert abs(np.corrcoef(other.train[:, 9], fleet["web-1"].train[:, 9])[0, 1]) < 0.3


# --- like a server ---


def test_values(fleet):
    for series in fleet.values():
        both = np.vstack([series.train, series.test])
        assert series.train.shape == series.test.shape == (4000, 24)
        assert len(set(series.channels)) == 24 and "{" not in "".join(series.channels)
        assert both.min() >= 0 and (both == np.round(both, 4)).all()
        for channel, values in zip(CHANNELS, both.T, strict=True):
            assert not channel.whole or (values == np.round(values)).all()
            assert values.max() <= channel.most
        release = series.test[:, INDEX["release"]]
        assert sorted(set(release)) == [41, 42] and np.abs(np.diff(release)).sum() == 1
        constant = [i for i in range(24) if series.train[:, i].std() == 0]
        assert constant == [INDEX["release"]]
        assert 3 < len(set(series.train[:, INDEX["swap_used"]])) < 12


def test_load_jobs_and_disk(fleet):
    for entity, series in fleet.items():
        train, server = series.train, SERVERS[entity]
        names = ("cpu_user", "net_in_eth0", "net_out_eth0", "{0}_rate", "{4}")
        assert np.corrcoef(train[:, [INDEX[name] for name in names]].T).min() > 0.85
        cycle = np.cos(2 * np.pi * (np.arange(4000) / 60 - server.peak) / 24)
        assert np.corrcoef(cycle, train[:, 0])[0, 1] > 0.7
        assert 0.9 < np.corrcoef(train[1:, 0], train[:-1, 0])[0, 1] < 0.98
        reads = train[:, INDEX["disk_read_sda"]]
        runs = np.arange(4000) % server.job < 2
        assert server.job < 16 and reads[runs].mean() - reads[~runs].mean() > 0.5 * reads.std()
        drops = np.flatnonzero(np.diff(train[:, INDEX["disk_used"]]) < -3)
        assert len(drops) in (2, 3) and set(np.diff(drops)) == {1440}  # a clean-up a night
        kurtosis = (scaled(series, train) ** 4).mean(axis=0) - 3  # of a normal distribution: 0
        assert min(kurtosis[INDEX["{1}_rate"]], kurtosis[INDEX["{3}"]]) > 1


def test_the_test_half_drifts(fleet):
    normal = [s.test[s.labels == 0] for s in fleet.values()]
    pairs = zip(fleet.values(), normal, strict=True)
    moves = [np.abs(scaled(series, rows).mean(axis=0)) for series, rows in pairs]
    assert 0.5 < np.mean(moves, axis=0).max() < 2.5  # seen in some channel, a wall in none


# --- anomalies ---


def test_plans_keep_their_bounds():
    cases = [("web-1", seed, rows) for seed in range(20) for rows in (2000, 4000, 13_000)]
    for entity, seed, rows in cases:
        faults = synthetic._plan(entity, seed, rows)
        assert {fault.kind for fault in faults} == set(KINDS)
        assert faults[0].start >= 100 and faults[-1].end <= rows - 20
        assert all(b.start - a.end >= 20 for a, b in zip(faults, faults[1:], strict=False))
        assert 0.03 <= sum(fault.end - fault.start for fault in faults) / rows <= 0.08
        for fault in faults:
            shortest, longest = LENGTHS[fault.kind]
            assert shortest <= fault.end - fault.start <= longest
        assert max(6, 10 * rows // 4000) <= len(faults) <= max(6, 13 * rows // 4000)


def test_what_each_kind_does(monkeypatch):
    found = {kind: [] for kind in KINDS}  # steps in training deviations, (rows, channels)
    monkeypatch.setattr(synthetic, "RESTLESS", 0)  # so that sizes show
    monkeypatch.setattr(synthetic, "_finish", lambda values: values)
    for entity in FLEET:
        series = synthetic.generate(entity)
        with monkeypatch.context() as patch:
            patch.setattr(synthetic, "_inject", lambda train, test, *_: (test, ()))
            clean = synthetic.generate(entity)
        assert (clean.train == series.train).all()
        assert [(cause.start, cause.end) for cause in series.causes] == series.events
        steps = scaled(series, series.test) - scaled(series, clean.test)
        low, high = series.train.min(axis=0), series.train.max(axis=0)
        for (start, end, channels), kind in zip(
            series.causes, synthetic.kinds(entity), strict=True
        ):
            at, channels = slice(start, end), list(channels)
            found[kind].append(steps[at, channels].copy())
            steps[at, channels] = 0
            block = series.test[at, channels]
            if kind == "stuck":
                assert (block == series.test[start - 1, channels]).all()
            inside = (block >= low[channels]) & (block <= high[channels])
            assert kind != "relation" or inside.all()
            assert kind != "duration" or inside.mean() > 0.9  # the channels' own noise adds
        assert not steps.any()  # nothing else has changed
    widths = {kind: {step.shape[1] for step in steps} for kind, steps in found.items()}
    assert widths["spike"] <= {4, 5, 6, 7} and widths["shift"] <= {5, 6, 7, 8}
    assert widths["relation"] <= {6, 7} and widths["leak"] == {6} and widths["stuck"] <= {1, 2}
    for kind, least, most in (("spike", 3, 6), ("shift", 1.5, 3)):
        for step in found[kind]:
            assert np.allclose(step, step[0])
            assert least <= np.abs(step[0]).min() and np.abs(step[0]).max() <= most
    for step in found["leak"]:  # a ramp
        assert np.allclose(step[0], 0) and np.allclose(
            np.diff(step, axis=0), step[-1] / (len(step) - 1)
        )
        assert 3.5 <= step[-1].min() and step[-1].max() <= 5
    for step in found["relation"]:  # far off, but it fades in
        assert np.abs(step[5:-5]).mean() > 1 > np.abs(step[[0, -1]]).mean()
    assert not any(step.any() for step in found["duration"])  # it goes through the load


def test_restless_factors_vary_by_half_and_never_change_the_sign():
    stream = np.random.RandomState(0)  # noqa: NPY002 the kind that the generator takes
    factors = synthetic._restless(np.zeros((20_000, 3)), stream)
    assert (factors.min(), factors.max()) == (0, 2)
    # A standard normal cut at 2 has the variance 0.7385 + 4 * 0.0455, so half its root:
    assert abs(factors.mean() - 1) < 0.01 and abs(factors.std() - 0.48) < 0.01


def test_bursts_are_short_in_training_and_touch_no_event():
    for entity in FLEET:
        faults = synthetic._plan(entity, 0, 4000)
        stream = synthetic._random(entity, 0, "bursts")
        bursts = synthetic._bursts(faults, 4000, stream)
        assert {burst.end - burst.start for burst in bursts} == {2, 3}
        assert min(b.start - a.end for a, b in zip(bursts, bursts[1:], strict=False)) >= 100
        events = {4000 + row for fault in faults for row in range(fault.start - 1, fault.end + 1)}
        assert not any(events & {*range(burst.start, burst.end)} for burst in bursts)
        # A long burst in the test half stays within what the training half has seen.
        long = synthetic.Burst(5000, 5025, "load", (0.9,) * 25)
        noise = synthetic._random(entity, 0, "noise")
        load = synthetic._factors(SERVERS[entity], 4000, [*bursts, long], noise)["load"]
        assert load[5000:5025].max() <= load[:4000].max() + 1e-9


# --- how hard it is ---


@pytest.fixture(scope="module")
def scores(fleet):
    """The scores of three of the project's detectors, and of two that know one row or two."""
    found = {
        name: {
            e: detector(name, seed=0).fit(s.train).decision_function(s.test)
            for e, s in fleet.items()
        }
        for name in ("LightMMoE", "MTSExample", "random")
    }
    steps = {e: np.diff(scaled(s, s.test), axis=0, prepend=np.nan) for e, s in fleet.items()}
    found["last value"] = {e: (np.nan_to_num(step) ** 2).sum(axis=1) for e, step in steps.items()}
    return found


def mean_auc(fleet, scores, kind):
    """ROC AUC of the rows of one kind of event against the normal rows, mean over servers."""
    found = []
    for entity, series in fleet.items():
        rows = series.labels == 0
        for cause, its in zip(series.causes, synthetic.kinds(entity), strict=True):
            rows[cause.start : cause.end] = its == kind
        found.append(roc_auc_score(series.labels[rows], scores[entity][rows]))
    return np.mean(found)


def test_lightmmoe_is_the_best_of_ours_and_neither_perfect_nor_lost(fleet, scores):
    found = {
        name: np.mean([average_precision_score(s.labels, its[e]) for e, s in fleet.items()])
        for name, its in scores.items()
    }
    assert 0.4 < found["LightMMoE"] < 0.9
    assert 0.2 < found["MTSExample"] < min(0.5, found["LightMMoE"] - 0.15)
    assert 0.04 < found["random"] < 0.08
    assert found["last value"] < 0.4


def test_each_kind_has_its_own_detector(fleet, scores):
    assert 0.35 < mean_auc(fleet, scores["MTSExample"], "relation") < 0.65
    assert mean_auc(fleet, scores["LightMMoE"], "relation") > 0.75
    assert mean_auc(fleet, scores["MTSExample"], "spike") > 0.95
    assert mean_auc(fleet, scores["MTSExample"], "shift") > 0.8
    for name, found in scores.items():
        assert 0.3 < mean_auc(fleet, found, "stuck") < 0.65, name
