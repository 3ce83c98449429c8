"""Counted multiply-adds against counts by hand, from the layers' sizes."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small import FOREIGN, tiny, waves

from lmmoe.detectors import detector, names
from lmmoe.report.efficiency.operations import multiply_adds, per_row


def fitted(name, rows=120, channels=38, **settings):
    made = detector(name, **settings)
    return made.fit(np.random.default_rng(0).standard_normal((rows, channels)))


def counted(made, rows=120):
    return per_row(made, np.random.default_rng(1).standard_normal((rows, made.n_features_in_)))


def family(*, c, w, e, k, h, o, t):
    """Convolutions, experts' layers, gates, mixture, towers."""
    kernels, *deeper = k
    conv = c * w * e * kernels + sum(c * e * a * b for a, b in zip(k, deeper, strict=False))
    inner = [c * k[-1], *h, o]
    layers = e * sum(a * b for a, b in zip(inner, inner[1:], strict=False))
    gates, mixture = c * w * e, c * e * o
    inner = [o, *t, 1]
    towers = c * sum(a * b for a, b in zip(inner, inner[1:], strict=False))
    return conv + layers + gates + mixture + towers


class TestNetworks:
    def test_lightmmoe_by_hand(self):
        # 19,456 + 188,416 + 2,432 + 9,728 + 39,520: 0.52 MFLOP a row, two for a multiply-add.
        assert counted(fitted("LightMMoE", epochs=0)) == 259_552
        assert family(c=38, w=16, e=4, k=[8], h=[128], o=64, t=[16]) == 259_552

    @pytest.mark.parametrize(
        ("name", "sizes"),
        [
            ("CAD", {"w": 16, "e": 3, "k": [8], "h": [128], "o": 64, "t": [128]}),
            ("CAD-FSE23", {"w": 16, "e": 5, "k": [16], "h": [256], "o": 128, "t": [32]}),
            ("HMMoE", {"w": 20, "e": 8, "k": [16, 32], "h": [256, 128], "o": 128, "t": [32, 16]}),
        ],
    )
    def test_its_relatives_by_their_sizes(self, name, sizes):
        assert counted(fitted(name, epochs=0)) == family(c=38, **sizes)

    def test_cad_as_run_and_one_linear_layer(self):
        inputs = 16 * 38
        experts = 3 * (inputs * 64 + 64 * 32 + 32 * 32)
        assert counted(fitted("CAD-as-run", epochs=0)) == experts + inputs * 3 + 32 * 38
        assert counted(fitted("linear", epochs=0)) == inputs * 38

    def test_usad_encodes_twice_and_decodes_twice(self):
        sizes = [608, 304, 152, 40]
        coder = sum(a * b for a, b in zip(sizes, sizes[1:], strict=False))
        assert counted(fitted("USAD", epochs=0)) == 4 * coder

    def test_a_recurrent_layer_multiplies_in_every_step(self):
        made = fitted("LSTM-AE", epochs=0)
        # Four gates of 64 units over 38 inputs and 64 states, 30 rows; the last row is rebuilt.
        assert counted(made) == 30 * 4 * 64 * (38 + 64) + 64 * 38

    def test_a_mixer_by_its_products(self):
        made = fitted("MTSMixerLighter", epochs=0, rows=100)
        time = 2 * 48 * 38 * 38  # 48 rows to 38 hidden units and back, for each of 38 channels
        channels = 2 * 48 * 38 * 38  # 38 channels to 38 hidden units and back, for each row
        assert counted(made) == time + channels + 48 * 48 * 38

    @given(st.integers(1, 5), st.integers(1, 6), st.integers(2, 9))
    @settings(max_examples=15, deadline=None)
    def test_any_sizes(self, experts, tower, window):
        small = {"experts": experts, "kernels": 3, "hidden": 5, "out": 4}
        made = fitted(
            "LightMMoE", rows=30, channels=3, epochs=0, tower=tower, window=window, **small
        )
        shape = {"c": 3, "w": window, "e": experts, "k": [3], "h": [5], "o": 4, "t": [tower]}
        assert counted(made) == family(**shape)


class TestSimpleMethods:
    def test_products_by_hand(self):
        c, n = 38, 16 * 38
        assert counted(fitted("PCA")) == 2 * 10 * c  # onto 10 directions and back
        assert counted(fitted("PCA windows", rows=700)) == 30 * (n + c)
        assert counted(fitted("ridge VAR", rows=700)) == n * c
        assert counted(fitted("k-means", rows=700)) == 50 * n
        assert counted(fitted("1-NN")) == 108 * c  # nine tenths of 120 rows are learned
        assert counted(fitted("MTSExample")) == c
        assert counted(fitted("moving average")) == c

    def test_ridge_in_the_network_s_count_of_one_layer(self):
        # The same map, so the same arithmetic, counted by two means.
        assert counted(fitted("ridge VAR", rows=700)) == counted(fitted("linear", epochs=0))

    @pytest.mark.parametrize(
        "name", ["random", "row index", "IsolationForest", "SmartSimpleAD", "range deviation"]
    )
    def test_without_products_there_is_no_number(self, name):
        assert np.isnan(counted(fitted(name)))
        pytest.importorskip("pyod")
        assert np.isnan(counted(fitted(FOREIGN)))

    def test_every_detector_gives_a_number_or_none(self):
        rows = waves(200)
        for name in names():
            found = per_row(tiny(name).fit(rows), rows)
            assert np.isnan(found) or found >= rows.shape[1]


class TestCounter:
    def test_operations_of_torch(self):
        a, b = torch.ones(3, 5), torch.ones(5, 7)
        assert multiply_adds(lambda: a @ b) == 105
        assert multiply_adds(lambda: torch.einsum("ij,jk->ik", a, b)) == 105
        assert multiply_adds(lambda: a + 1) == 0
        layer = torch.nn.Conv1d(2, 4, 3)
        assert multiply_adds(lambda: layer(torch.ones(1, 2, 10))) == 2 * 4 * 3 * 8

    def test_with_and_without_gradients(self):
        layer, rows = torch.nn.Linear(4, 6), torch.ones(2, 4)
        with torch.inference_mode():
            assert multiply_adds(lambda: layer(rows)) == 48
        # Forwards, and the weights' gradient; the input's is not asked for.
        assert multiply_adds(lambda: layer(rows).sum().backward()) == 96

    def test_it_counts_only_inside(self):
        multiply_adds(lambda: None)
        assert multiply_adds(lambda: None) == 0
