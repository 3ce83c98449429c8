"""Forecasts of a whole series against the network's own, and against its definition."""

import naive_mmoe
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small import make, waves

import lmmoe
from lmmoe import training
from lmmoe import mmoe_fast as byhand, mmoe_fast as scoring

PRESETS = ("LightMMoE", "CAD", "CAD-FSE23")


def series(rows, channels=naive_mmoe.SIZES["channels"], seed=5):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, channels, generator=generator, dtype=torch.float64)


def of_network(network, rows, window):
    with torch.inference_mode():
        return network(training.windows(rows, window))


def near(found, expected, bound=1e-9):
    torch.testing.assert_close(found, expected, rtol=bound, atol=bound)


sizes = st.integers(1, 4)


@settings(max_examples=60, deadline=None)
@given(
    channels=sizes,
    window=sizes,
    experts=sizes,
    widths=st.tuples(sizes, sizes, sizes, sizes),
    shared=st.sampled_from([0.0, 0.3, 1.0]),
    count=st.integers(1, 8),
    batch=st.integers(1, 9),
)
def test_forecasts_are_the_definitions(channels, window, experts, widths, shared, count, batch):
    kernels, hidden, out, tower = widths
    network = naive_mmoe.network(
        channels=channels,
        window=window,
        experts=experts,
        kernels=[kernels],
        hidden=[hidden],
        out=out,
        tower=[tower],
        shared=shared,
    )
    rows = series(count + window - 1, channels)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring, "BATCH", batch)
        found = scoring.forecasts(network, rows)
    assert found.shape == (count, channels) and found.dtype == torch.float64
    near(found, naive_mmoe.plainly(network, training.windows(rows, window)))


@pytest.mark.parametrize("count", [1, 2, 255, 256, 257, 512, 700])
def test_ends_and_borders_of_batches_do_not_show(count):
    network, window = naive_mmoe.network(), naive_mmoe.SIZES["window"]
    rows = series(count + window - 1)
    found = scoring.forecasts(network, rows)
    assert len(found) == count
    near(found, of_network(network, rows, window))


def test_rows_may_lie_anyhow_in_memory():
    network, window = naive_mmoe.network(), naive_mmoe.SIZES["window"]
    rows = series(60)
    expected = of_network(network, rows[7:47], window)
    wide = torch.zeros(60, 8, dtype=torch.float64)
    wide[:, ::2] = rows
    for given_rows in (rows[7:47], wide[7:47, ::2], rows.T.contiguous().T[7:47]):
        near(scoring.forecasts(network, given_rows), expected)
    single = naive_mmoe.network(channels=1)
    near(
        scoring.forecasts(single, rows[:, :1].contiguous()[7:47]),
        of_network(single, rows[7:47, :1], window),
    )


def test_nothing_is_dropped_and_nothing_changed():
    network = naive_mmoe.network(expert_dropout=0.5, tower_dropout=0.5)
    rows, before = series(40), {k: v.clone() for k, v in network.state_dict().items()}
    expected = scoring.forecasts(network, rows)
    found = scoring.forecasts(network.train(), rows)
    assert torch.equal(found, expected)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(weights.grad is None for weights in network.parameters())
    assert not torch.is_inference_mode_enabled()


def test_all_stays_on_the_rows_device():
    """The meta device has shapes only, and refuses tensors of another."""
    network = naive_mmoe.network().to("meta")
    found = scoring.forecasts(network, series(300).to("meta"))
    assert found.device.type == "meta" and found.shape == (300 - 4, 4)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_in_single_precision(name):
    made = lmmoe.detector(name)
    network = made._build(38, torch.Generator().manual_seed(0)).eval()
    assert byhand.suits(network)
    rows = series(300, 38).float()
    near(scoring.forecasts(network, rows), of_network(network, rows, made.window), 2e-6)


@pytest.mark.parametrize("name", PRESETS)
def test_detectors_scores_and_forecasts_are_the_obvious_ones(name):
    made = make(name).fit(waves(300))
    test, first = waves(200, seed=1), made.window + made.horizon - 1
    assert made.unscored == first == {"CAD-FSE23": 10}.get(name, 8)
    scaled = torch.from_numpy(made._scaling(test).astype(np.float32))
    expected = of_network(made.network, scaled[: 200 - made.horizon], made.window)
    errors = (expected - scaled[first:]).double().square().numpy()
    # Errors of small residuals of large forecasts carry the rounding of these.
    np.testing.assert_allclose(made.channel_scores(test)[first:], errors, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(
        made.decision_function(test)[first:], errors.mean(axis=1), rtol=1e-5, atol=1e-6
    )
    raw = made._scaling.undone(expected.double().numpy())
    np.testing.assert_allclose(made.forecasts(test), raw, rtol=1e-5, atol=1e-5)


def test_a_series_of_one_window():
    made = make("CAD-FSE23").fit(waves(300))
    test = waves(60, seed=1)
    one = made.channel_scores(test[20:31])  # a window of 8, 2 rows between, the row itself
    assert one.shape == (11, 4)
    np.testing.assert_allclose(one[10], made.channel_scores(test)[30], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "changes", [{}, {"gate": "mean"}, {"gate": "learned"}, {"tower": []}, {"hidden": [4, 4]}]
)
def test_other_networks_go_their_own_way(changes, monkeypatch):
    made, calls = make("LightMMoE", **changes).fit(waves(100)), []
    plain = scoring.forecasts
    monkeypatch.setattr(scoring, "forecasts", lambda *given: calls.append(1) or plain(*given))
    made.decision_function(waves(100, seed=1))
    assert bool(calls) == (not changes)
