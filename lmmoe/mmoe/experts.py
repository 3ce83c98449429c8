"""Experts: what all channels share. All of them are computed at once, weights in one tensor each.

Axes: b batch, c channels, w window, e experts, k kernels, d hidden, o expert output.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from lmmoe.mmoe.parts import BatchNorm, Start, activated, dropped


class Layers(nn.Module):
    """Each expert's linear layers: hidden ones with activation and dropout, then the output."""

    def __init__(self, experts: int, sizes: Sequence[int], dropout: float, start: Start) -> None:
        super().__init__()
        self.dropout = dropout
        self.weights = nn.ParameterList(start.linear(experts, a, b) for a, b in pairwise(sizes))
        self.biases = nn.ParameterList(
            start.bias(experts, 1, b, fan_in=a) for a, b in pairwise(sizes)
        )

    def forward(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        """Map ``(e, b, d)`` to ``(e, b, o)``."""
        last = len(self.weights) - 1
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(bias, x, weight)
            if layer < last:
                x = dropped(activated(x, layer), self.training * self.dropout, generator)
        return x


class WindowExperts(nn.Module):
    """Convolutions over a channel's whole window, the same for all channels; then the layers.

    ``kernels`` are the widths of the convolution that spans the window and of 1x1 ones after it;
    with ``normalise``, batch norm follows each.
    """

    def __init__(
        self,
        channels: int,
        window: int,
        *,
        experts: int,
        kernels: Sequence[int],
        layers: Sequence[int],
        dropout: float,
        normalise: bool,
        start: Start,
    ) -> None:
        super().__init__()
        self.count, self.dropout = experts, dropout
        width = experts * kernels[0]
        self.conv = start.convolution(window, width, fan_in=window)
        self.conv_bias = start.bias(width, fan_in=window)
        self.norm = BatchNorm(1, width) if normalise else None
        deeper = list(pairwise(kernels))
        self.deeper = nn.ParameterList(
            start.convolution(experts, a, b, fan_in=a) for a, b in deeper
        )
        self.deeper_biases = nn.ParameterList(
            start.bias(experts, 1, b, fan_in=a) for a, b in deeper
        )
        self.deeper_norms = nn.ModuleList(BatchNorm(experts, b) for _, b in deeper if normalise)
        self.layers = Layers(experts, (channels * kernels[-1], *layers), dropout, start)

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Map windows ``(b, c, w)`` to all experts' outputs ``(e, b, o)``."""
        batch, channels, window = x.shape
        share = self.training * self.dropout
        # One product for the kernels of all experts: many narrow ones would be several times
        # slower.
        maps = torch.addmm(self.conv_bias, x.reshape(batch * channels, window), self.conv)
        if self.norm is not None:
            maps = self.norm(maps.unsqueeze(0)).squeeze(0)
        maps = activated(maps, 0)
        if not self.deeper:
            maps = dropped(maps, share, generator)
        maps = maps.view(batch * channels, self.count, -1).transpose(0, 1)  # (e, b c, k)
        for number, (weight, bias) in enumerate(zip(self.deeper, self.deeper_biases, strict=True)):
            maps = torch.baddbmm(bias, maps, weight)
            if self.deeper_norms:
                maps = self.deeper_norms[number](maps)
            maps = activated(maps, number + 1)
        if self.deeper:
            maps = dropped(maps, share, generator)
        return self.layers(maps.reshape(self.count, batch, -1), generator)


class SeriesExperts(nn.Module):
    """The study's time-series expert: a convolution of 3 along time plus one along channels."""

    def __init__(
        self,
        channels: int,
        window: int,
        *,
        experts: int,
        kernels: int,
        layers: Sequence[int],
        dropout: float,
        start: Start,
    ) -> None:
        super().__init__()
        self.count, self.dropout = experts, dropout
        width = experts * kernels
        self.along_time = start.convolution(width, 1, 1, 3, fan_in=3)
        self.along_channels = start.convolution(width, 1, 3, 1, fan_in=3)
        self.bias = start.bias(width, fan_in=3)
        self.layers = Layers(experts, (kernels * channels * window, *layers), dropout, start)

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Map windows ``(b, c, w)`` to all experts' outputs ``(e, b, o)``."""
        plane = x.unsqueeze(1)
        maps = nn.functional.conv2d(plane, self.along_time, self.bias, padding=(0, 1))
        maps = (maps + nn.functional.conv2d(plane, self.along_channels, padding=(1, 0))).relu()
        maps = dropped(maps, self.training * self.dropout, generator)
        return self.layers(maps.view(len(x), self.count, -1).transpose(0, 1), generator)
