"""Forecasts from all windows of a series, for the networks that `lmmoe.mmoe.byhand` knows.

The windows of consecutive rows overlap: they are read out of the series channel by channel, with
time as the last axis. A channel's kernels and its gate are one product; every later product reads
what the one before has written; and memory is kept from batch to batch.

Axes: t rows, n windows, b batch, c channels, w window, e experts, k kernels, d hidden, o expert
output, h tower.
"""

import torch
from torch import Tensor

from lmmoe.mmoe import MMoE

BATCH = 256  # windows at a time: on one core of an EPYC 7003, 512 take a tenth longer, 96 as long


@torch.inference_mode()
def forecasts(network: MMoE, rows: Tensor) -> Tensor:
    """Forecast from every window of consecutive rows ``(t, c)``: ``(t - w + 1, c)``.

    Up to rounding what ``network`` itself gives in scoring mode. It must be one that
    `byhand.suits` accepts; ``rows`` have its type and device, and at least w of them are there.
    """
    window = network.experts.conv.shape[0]
    windows = rows.T.contiguous().unfold(1, window, 1).transpose(1, 2)  # (c, w, n)
    count = windows.shape[2]
    found = rows.new_empty(count, len(windows))
    memory = _Memory(network, min(BATCH, count))
    for part, place in zip(windows.split(BATCH, 2), found.split(BATCH), strict=True):
        if len(place) != memory.batch:
            memory = _Memory(network, len(place))  # the last one
        place.T.copy_(memory.forecast(part))
    return found


class _Memory:
    """The weights as the products want them, and what forecasting ``b`` windows writes."""

    def __init__(self, network: MMoE, b: int) -> None:
        experts, towers = network.experts, network.towers
        self.batch, self.first = b, _kernels_and_gates(network)
        (hidden, out), (hidden_bias, out_bias) = experts.layers.weights, experts.layers.biases
        self.hidden = hidden.transpose(1, 2).contiguous(), hidden_bias.transpose(1, 2)
        self.out = out, out_bias
        (tower, head), (tower_bias, head_bias) = towers.weights, towers.biases
        self.tower = tower.transpose(1, 2).contiguous(), tower_bias.transpose(1, 2)
        self.head = head.transpose(1, 2), head_bias
        empty, (w, width) = out.new_empty, experts.conv.shape
        (e, d, o), (c, _, h) = out.shape, tower.shape
        self.windows = empty(c, w + 1, b)
        self.windows[:, -1] = 1  # for the bias
        self.maps = empty(c, width + e, b)
        self.kernels = self.maps[:, :width].unflatten(1, (e, -1)).transpose(0, 1)  # (e, c, k, b)
        self.logits = self.maps[:, width:]
        self.units = empty(self.kernels.shape)
        self.inner, self.outputs = empty(e, d, b), empty(e, b, o)
        self.shares, self.mixed = empty(b, c, e), empty(b, c, o)
        self.towers, self.forecasts = empty(c, h, b), empty(c, 1, b)

    def forecast(self, windows: Tensor) -> Tensor:
        """Map windows ``(c, w, b)`` to forecasts ``(c, b)``, which the next call overwrites."""
        self.windows[:, :-1].copy_(windows)
        torch.bmm(self.first, self.windows, out=self.maps)
        torch.clamp_min(self.kernels, 0, out=self.units)
        _linear(self.hidden, self.units.flatten(1, 2), self.inner).relu_()
        weight, bias = self.out
        torch.baddbmm(bias, self.inner.transpose(1, 2), weight, out=self.outputs)
        self.shares.copy_(self.logits.softmax(1).permute(2, 0, 1))
        torch.bmm(self.shares, self.outputs.transpose(0, 1), out=self.mixed)
        _linear(self.tower, self.mixed.permute(1, 2, 0), self.towers).relu_()
        return _linear(self.head, self.towers, self.forecasts).squeeze(1)


def _linear(layer: tuple[Tensor, Tensor], x: Tensor, out: Tensor) -> Tensor:
    weight, bias = layer
    return torch.baddbmm(bias, weight, x, out=out)


def _kernels_and_gates(network: MMoE) -> Tensor:
    """Each channel's rows of weights for its window and a 1: ``(c, e k + e, w + 1)``."""
    experts, gate = network.experts, network.gate.weights()  # (c, e, w)
    kernels = torch.cat([experts.conv, experts.conv_bias[None]]).T
    gates = torch.cat([gate, gate.new_zeros(*gate.shape[:2], 1)], 2)  # a gate has no bias
    return torch.cat([kernels.expand(len(gate), -1, -1), gates], 1)
