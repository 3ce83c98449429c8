"""Forecasts of a whole series against the network's own, and against its definition."""

import naive_mmoe
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small import make, waves

from lmmoe import mmoe_fast, training

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
        patch.setattr(mmoe_fast, "BATCH", batch)
        found = mmoe_fast.forecasts(network, rows)
    assert found.shape == (count, channels) and found.dtype == torch.float64
    near(found, naive_mmoe.plainly(network, training.windows(rows, window)))


def test_ends_and_borders_of_batches_do_not_show():
    for count in [1, 2, 255, 256, 257, 512, 700]:
        network, window = naive_mmoe.network(), naive_mmoe.SIZES["window"]
        rows = series(count + window - 1)
        found = mmoe_fast.forecasts(network, rows)
        assert len(found) == count
        near(found, of_network(network, rows, window))


def test_detectors_scores_and_forecasts_are_the_obvious_ones():
    for name in PRESETS:
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
