"""The generated fleet: the same everywhere, like a server, and neither too easy nor hopeless."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from lmmoe import data, detector
from lmmoe.data import synthetic
from lmmoe.data.synthetic import CHANNELS, INDEX, KINDS, LENGTHS, ROWS, SERVERS
from lmmoe.segments import runs

IDS = {
    "web-1": "ef0d18de43c4",
    "db-1": "cb68e74b6300",
    "cache-1": "688eed448791",
    "batch-1": "2fb8a5776c47",
}


@pytest.fixture(scope="module")
def fleet():
    return {entity: synthetic.generate(entity) for entity in SERVERS}


def kinds(entity):
    return [fault.kind for fault in synthetic.plan(entity)]


def scaled(series, values):
    sd = series.train.std(axis=0)
    return (values - series.train.mean(axis=0)) / np.where(sd == 0, 1, sd)


# --- the same everywhere ---


def test_stored_values(fleet, tmp_path):
    # Printed once: a change of any of them is a change of the data set.
    web, batch = fleet["web-1"], fleet["batch-1"]
    start = [31.9133, 11.3581, 2.7747, 3.5214]
    np.testing.assert_allclose(web.train[0, :4], start, atol=1e-6)
    end = [161.0, 986.0, 182.0, 101.9811]
    np.testing.assert_allclose(batch.train[3999, 15:19], end, atol=1e-6)
    assert web.events[:4] == [(299, 305), (726, 738), (828, 855), (922, 933)]
    assert kinds("web-1")[:4] == ["spike", "shift", "duration", "stuck"]
    # They are listed and read without any file.
    assert data.entities("synthetic", tmp_path / "nothing") == sorted(SERVERS)
    for entity, known in IDS.items():
        series = data.load("synthetic", entity, tmp_path / "nothing")
        assert series.id == fleet[entity].id == known and series.rows_per_day == 1440
        assert data.files("synthetic", entity, tmp_path) == []


def test_seeds_differ_and_leave_the_global_stream_alone(fleet):
    before = np.random.get_state()[1].copy()  # noqa: NPY002 it is what must not move
    other = synthetic.generate("web-1", seed=1)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002
    assert other.events != fleet["web-1"].events and other.id == "5641dde81bc0"
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


def test_load_jobs_disk_and_drift(fleet):
    moves = []
    for entity, series in fleet.items():
        train, server = series.train, SERVERS[entity]
        names = ("cpu_user", "net_in_eth0", "net_out_eth0", "{0}_rate", "{4}")
        assert np.corrcoef(train[:, [INDEX[name] for name in names]].T).min() > 0.85
        cycle = np.cos(2 * np.pi * (np.arange(4000) / 60 - server.peak) / 24)
        assert np.corrcoef(cycle, train[:, 0])[0, 1] > 0.7
        assert 0.9 < np.corrcoef(train[1:, 0], train[:-1, 0])[0, 1] < 0.98
        reads = train[:, INDEX["disk_read_sda"]]
        jobs = np.arange(4000) % server.job < 2
        assert server.job < 16 and reads[jobs].mean() - reads[~jobs].mean() > 0.5 * reads.std()
        drops = np.flatnonzero(np.diff(train[:, INDEX["disk_used"]]) < -3)
        assert len(drops) in (2, 3) and set(np.diff(drops)) == {1440}  # a clean-up a night
        kurtosis = (scaled(series, train) ** 4).mean(axis=0) - 3  # of a normal distribution: 0
        assert min(kurtosis[INDEX["{1}_rate"]], kurtosis[INDEX["{3}"]]) > 1
        moves.append(np.abs(scaled(series, series.test[series.labels == 0]).mean(axis=0)))
    assert 0.5 < np.mean(moves, axis=0).max() < 2.5  # seen in some channel, a wall in none


# --- anomalies ---


def test_plans_and_bursts_keep_their_bounds():
    for seed in range(20):
        faults = synthetic.plan("web-1", seed)
        assert {fault.kind for fault in faults} == set(KINDS) and 10 <= len(faults) <= 13
        assert faults[0].start >= 100 and faults[-1].end <= ROWS - 20
        assert all(b.start - a.end >= 20 for a, b in zip(faults, faults[1:], strict=False))
        assert 0.03 <= sum(fault.end - fault.start for fault in faults) / ROWS <= 0.08
        for fault in faults:
            shortest, longest = LENGTHS[fault.kind]
            assert shortest <= fault.end - fault.start <= longest
        work = synthetic._work("web-1", seed, faults)
        bursts = runs((work["load"] + work["io"]) > 0)
        long = [burst for burst in bursts if burst[1] - burst[0] > 3]
        lasting = [fault for fault in faults if fault.kind == "duration"]
        assert long == [(ROWS + fault.start, ROWS + fault.end) for fault in lasting]
        short = [burst for burst in bursts if burst not in long]
        assert {end - start for start, end in short} == {2, 3}
        assert min(b[0] - a[1] for a, b in zip(short, short[1:], strict=False)) >= 100
        events = {ROWS + row for fault in faults for row in range(fault.start - 1, fault.end + 1)}
        assert not any(events & {*range(*burst)} for burst in short)
        # A long burst in the test half stays within what the training half has seen.
        noise = synthetic._random("web-1", seed, "noise")
        load = synthetic._factors(SERVERS["web-1"], work, noise)["load"]
        assert all(load[slice(*burst)].max() <= load[:ROWS].max() + 1e-9 for burst in long)


def test_what_each_kind_does(monkeypatch):
    found = {kind: [] for kind in KINDS}  # steps in training deviations, (rows, channels)
    monkeypatch.setattr(synthetic, "RESTLESS", 0)  # so that sizes show
    monkeypatch.setattr(synthetic, "_finish", lambda values: values)
    for entity in SERVERS:
        series = synthetic.generate(entity)
        with monkeypatch.context() as patch:
            patch.setattr(synthetic, "_inject", lambda train, test, *_: (test, ()))
            clean = synthetic.generate(entity)
        assert (clean.train == series.train).all()
        assert [(cause.start, cause.end) for cause in series.causes] == series.events
        steps = scaled(series, series.test) - scaled(series, clean.test)
        low, high = series.train.min(axis=0), series.train.max(axis=0)
        for (start, end, channels), kind in zip(series.causes, kinds(entity), strict=True):
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
        even = step[-1] / (len(step) - 1)
        assert np.allclose(step[0], 0) and np.allclose(np.diff(step, axis=0), even)
        assert 3.5 <= step[-1].min() and step[-1].max() <= 5
    for step in found["relation"]:  # far off, but it fades in
        assert np.abs(step[5:-5]).mean() > 1 > np.abs(step[[0, -1]]).mean()
    assert not any(step.any() for step in found["duration"])  # it goes through the load


# --- how hard it is ---


def test_each_kind_has_its_own_detector(fleet):
    """LightMMoE finds most, the size of a row the loud kinds, and nobody what is stuck."""
    precision, auc = {}, {}
    for name in ("LightMMoE", "MTSExample", "random", "last value"):
        precisions, aucs = [], {kind: [] for kind in KINDS}
        for entity, series in fleet.items():
            if name == "last value":
                steps = np.diff(scaled(series, series.test), axis=0, prepend=np.nan)
                scores = (np.nan_to_num(steps) ** 2).sum(axis=1)
            else:
                scores = detector(name, seed=0).fit(series.train).decision_function(series.test)
            precisions.append(average_precision_score(series.labels, scores))
            for kind in KINDS:  # its rows against the normal ones
                rows = series.labels == 0
                for (start, end), its in zip(series.events, kinds(entity), strict=True):
                    rows[start:end] = its == kind
                aucs[kind].append(roc_auc_score(series.labels[rows], scores[rows]))
        precision[name] = np.mean(precisions)
        auc[name] = {kind: np.mean(values) for kind, values in aucs.items()}
        assert 0.3 < auc[name]["stuck"] < 0.65
    assert 0.4 < precision["LightMMoE"] < 0.9
    assert 0.2 < precision["MTSExample"] < min(0.5, precision["LightMMoE"] - 0.15)
    assert 0.04 < precision["random"] < 0.08
    assert precision["last value"] < 0.4
    assert 0.35 < auc["MTSExample"]["relation"] < 0.65 and auc["LightMMoE"]["relation"] > 0.75
    assert auc["MTSExample"]["spike"] > 0.95 and auc["MTSExample"]["shift"] > 0.8
