"""The generated fleet: the same everywhere, and like a server."""

import time

import numpy as np
import pytest

from lmmoe import data
from lmmoe.data import synthetic, synthetic_faults
from lmmoe.data.synthetic import CHANNELS, INDEX, SERVERS
from lmmoe.errors import DataError

FLEET = tuple(SERVERS)
STORED = {
    "web start": [31.9133, 11.3581, 2.7747, 3.5214],
    "web test": [65.1967, 11.6525, 15.8344, 23.7871],
    "batch end": [161.0, 986.0, 182.0, 101.9811],
}


@pytest.fixture(scope="module")
def fleet():
    return {entity: synthetic.generate(entity) for entity in FLEET}


def test_it_is_listed_and_read_without_any_file(tmp_path):
    missing = tmp_path / "nothing here"
    names = ["batch-1", "cache-1", "db-1", "web-1"]
    assert data.entities("synthetic", missing) == names
    assert [data.files("synthetic", name, missing) for name in names] == [[]] * 4
    series = data.load("synthetic", "db-1", missing)
    assert (series.dataset, series.entity, series.rows_per_day) == ("synthetic", "db-1", 1440)
    assert series.id == synthetic.generate("db-1").id


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("web-9",), "no generated server 'web-9'. There are web-1, db-1, cache-1, batch-1"),
        (("web-1", 0, 1999), "1999 rows are too few. Take at least 2000"),
        (("web-1", -1), "seed -1 is out of range. Take one from 0 to 2**32 - 1"),
        (("web-1", 2**32), "seed 4294967296 is out of range. Take one from 0 to 2**32 - 1"),
    ],
)
@pytest.mark.parametrize("function", [synthetic.generate, synthetic.kinds, synthetic.bursts])
def test_bad_arguments(function, arguments, message):
    with pytest.raises(DataError) as caught:
        function(*arguments)
    assert str(caught.value) == message


def test_two_calls_are_equal_and_leave_the_global_stream_alone(fleet):
    before = np.random.get_state()[1].copy()  # noqa: NPY002 it is what must not move
    again = synthetic.generate("web-1")
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002
    assert again.id == fleet["web-1"].id
    assert again.causes == fleet["web-1"].causes


def test_stored_values(fleet):
    # Printed once: a change of any of them is a change of the data set.
    web, batch = fleet["web-1"], fleet["batch-1"]
    np.testing.assert_allclose(web.train[0, :4], STORED["web start"], atol=1e-6)
    np.testing.assert_allclose(web.test[2000, 8:12], STORED["web test"], atol=1e-6)
    np.testing.assert_allclose(batch.train[3999, 15:19], STORED["batch end"], atol=1e-6)
    assert web.events[:4] == [(299, 305), (726, 738), (828, 855), (922, 933)]
    assert synthetic.kinds("web-1")[:4] == ("spike", "shift", "duration", "stuck")


def test_seeds_and_servers_differ(fleet):
    assert len({series.id for series in fleet.values()}) == 4
    other = synthetic.generate("web-1", seed=1)
    assert other.id != fleet["web-1"].id
    assert other.events != fleet["web-1"].events
    assert abs(np.corrcoef(other.train[:, 9], fleet["web-1"].train[:, 9])[0, 1]) < 0.3


def test_generation_is_fast():
    def seconds():
        start = time.perf_counter()
        synthetic.generate("web-1")
        return time.perf_counter() - start

    assert min(seconds() for _ in range(4)) < 0.2


@pytest.mark.parametrize("entity", FLEET)
def test_values(fleet, entity):
    series = fleet[entity]
    assert series.train.shape == series.test.shape == (4000, 24)
    assert series.labels.shape == (4000,)
    assert len(set(series.channels)) == 24
    assert not any("{" in name for name in series.channels)
    both = np.vstack([series.train, series.test])
    assert both.min() >= 0
    assert (both == np.round(both, 4)).all()
    for channel, values in zip(CHANNELS, both.T, strict=True):
        assert not channel.whole or (values == np.round(values)).all()
        assert values.max() <= channel.most


@pytest.mark.parametrize("entity", FLEET)
def test_coarse_channels_and_the_release(fleet, entity):
    train, test = fleet[entity].train, fleet[entity].test
    release = INDEX["release"]
    assert set(train[:, release]) == {41}
    assert sorted(set(test[:, release])) == [41, 42]
    assert np.abs(np.diff(test[:, release])).sum() == 1  # one step, for good
    assert [i for i in range(24) if train[:, i].std() == 0] == [release]
    assert 3 < len(set(train[:, INDEX["swap_used"]])) < 12
    retransmits = train[:, INDEX["tcp_retransmits"]]
    assert set(retransmits) == {0, 1, 2}
    assert 0.4 < (retransmits == 0).mean() < 0.55


@pytest.mark.parametrize("entity", FLEET)
def test_the_load_is_shared_daily_and_autocorrelated(fleet, entity):
    train = fleet[entity].train
    followers = [INDEX[n] for n in ("cpu_user", "net_in_eth0", "net_out_eth0", "{0}_rate", "{4}")]
    assert np.corrcoef(train[:, followers].T).min() > 0.85
    hours = np.arange(4000) / 60 - SERVERS[entity].peak
    daily = np.corrcoef(np.cos(2 * np.pi * hours / 24), train[:, 0])[0, 1]
    assert daily > 0.7
    cpu = train[:, 0]
    assert 0.9 < np.corrcoef(cpu[1:], cpu[:-1])[0, 1] < 0.98


@pytest.mark.parametrize("entity", FLEET)
def test_jobs_run_on_time(fleet, entity):
    assert SERVERS[entity].job < 16
    disk = fleet[entity].train[:, INDEX["disk_read_sda"]]
    runs = np.arange(4000) % SERVERS[entity].job < 2
    assert disk[runs].mean() - disk[~runs].mean() > 0.5 * disk.std()


@pytest.mark.parametrize("entity", FLEET)
def test_tails_and_disk(fleet, entity):
    train = fleet[entity].train
    z = (train - train.mean(axis=0)) / np.where(train.std(axis=0) == 0, 1, train.std(axis=0))
    kurtosis = (z**4).mean(axis=0) - 3  # of a normal distribution: 0
    assert min(kurtosis[INDEX["{1}_rate"]], kurtosis[INDEX["{3}"]]) > 1
    assert kurtosis[INDEX["threads"]] < 0
    disk = train[:, INDEX["disk_used"]]
    drops = np.flatnonzero(np.diff(disk) < -3)
    assert len(drops) in (2, 3)  # 2.8 days, one clean-up a night
    assert set(np.diff(drops)) == {1440}
    assert np.polyfit(np.arange(900), disk[drops[0] + 2 :][:900], 1)[0] > 0  # and it fills again


def test_the_test_half_drifts(fleet):
    moves = []
    for series in fleet.values():
        normal = series.test[series.labels == 0]
        sd = np.where(series.train.std(axis=0) == 0, 1, series.train.std(axis=0))
        moves.append(np.abs(normal.mean(axis=0) - series.train.mean(axis=0)) / sd)
    assert 0.5 < np.mean(moves, axis=0).max() < 2.5  # seen in some channel, a wall in none


@pytest.mark.parametrize("entity", FLEET)
def test_events(fleet, entity):
    series = fleet[entity]
    lengths = [end - start for start, end in series.events]
    assert 0.03 <= series.labels.mean() <= 0.08
    assert 8 <= len(lengths) <= 14
    assert 2 <= min(lengths) and max(lengths) <= 150
    assert series.events[0][0] >= 100


def test_the_median_event_lasts_about_a_quarter_of_an_hour(fleet):
    lengths = [end - start for series in fleet.values() for start, end in series.events]
    assert 12 <= np.median(lengths) <= 20


@pytest.mark.parametrize("entity", FLEET)
def test_causes_match_labels_and_kinds(fleet, entity):
    series, kinds = fleet[entity], synthetic.kinds(entity)
    assert [(cause.start, cause.end) for cause in series.causes] == series.events
    assert len(kinds) == len(series.events)
    assert set(kinds) == set(synthetic_faults.KINDS)
    for cause, kind in zip(series.causes, kinds, strict=True):
        assert len(cause.channels) >= (6 if kind in ("relation", "leak") else 1)
        assert cause.channels == tuple(sorted(set(cause.channels)))
        assert 0 <= cause.channels[0] and cause.channels[-1] < 24
        assert INDEX["release"] not in cause.channels


@pytest.mark.parametrize("entity", FLEET)
def test_only_the_causing_channels_change_and_only_in_their_rows(fleet, entity, monkeypatch):
    monkeypatch.setattr(synthetic, "inject", lambda train, test, *_: (test, ()))
    clean, series = synthetic.generate(entity), fleet[entity]
    assert (clean.train == series.train).all()
    changed = clean.test != series.test
    for cause, kind in zip(series.causes, synthetic.kinds(entity), strict=True):
        block = changed[cause.start : cause.end, cause.channels]
        # A long burst is in the clean half already, for it goes through the load.
        assert block.any(axis=0).all() if kind != "duration" else not block.any()
        changed[cause.start : cause.end, cause.channels] = False
    assert not changed.any()


@pytest.mark.parametrize("entity", FLEET)
def test_the_training_half_knows_no_long_burst(entity):
    bursts = synthetic.bursts(entity)
    assert {burst.end - burst.start for burst in bursts} == {2, 3}
    assert min(b.start - a.end for a, b in zip(bursts, bursts[1:], strict=False)) >= 100
    assert all(len(burst.heights) == burst.end - burst.start for burst in bursts)
    heights = [height for burst in bursts for height in burst.heights]
    assert 0.225 <= min(heights) and max(heights) <= 0.9
    # A long burst in the test half leaves every factor of the training half as it was.
    long = synthetic.Burst(5000, 5025, "load", (0.9,) * 25)
    server = SERVERS[entity]
    without = synthetic._factors(server, 4000, [*bursts], synthetic._random(entity, 0, "noise"))
    noise = synthetic._random(entity, 0, "noise")
    with_it = synthetic._factors(server, 4000, [*bursts, long], noise)
    for name, values in without.items():
        assert (values[:4000] == with_it[name][:4000]).all()
    gain = (with_it["load"] - without["load"])[5000:5025]
    assert 0 < gain.min() and gain.max() <= 0.9 + 1e-9
    assert with_it["load"][5000:5025].max() <= with_it["load"][:4000].max() + 1e-9


@pytest.mark.parametrize("entity", FLEET)
def test_no_normal_burst_touches_an_event(fleet, entity):
    bursts = [b for b in synthetic.bursts(entity) if b.start >= 4000]
    padded = np.r_[fleet[entity].labels, 0]
    assert not any(padded[b.start - 4001 : b.end - 3999].any() for b in bursts)


@pytest.mark.parametrize("seed", range(1, 6))
def test_other_seeds_keep_the_bounds(seed):
    series = synthetic.generate("db-1", seed=seed, rows=3000)
    assert series.train.shape == (3000, 24)
    assert 0.03 <= series.labels.mean() <= 0.08
    assert [(cause.start, cause.end) for cause in series.causes] == series.events
    assert len(synthetic.kinds("db-1", seed=seed, rows=3000)) == len(series.events)


@pytest.mark.parametrize("entity", FLEET)
def test_relation_and_duration_stay_in_the_training_range(fleet, entity):
    series = fleet[entity]
    low, high = series.train.min(axis=0), series.train.max(axis=0)
    for cause, kind in zip(series.causes, synthetic.kinds(entity), strict=True):
        rows, channels = slice(cause.start, cause.end), list(cause.channels)
        block = series.test[rows, channels]
        inside = (block >= low[channels]) & (block <= high[channels])
        assert kind != "relation" or inside.all()
        assert kind != "duration" or inside.mean() > 0.9  # the channels' own noise adds a little
