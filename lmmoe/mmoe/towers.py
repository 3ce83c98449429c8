"""Towers: from the experts' mixture to a channel's forecast.

Axes: b batch, c channels, o expert output, t tower.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from lmmoe.mmoe.parts import Start, activated, dropped


class Towers(nn.Module):
    """A few linear layers for each channel, all channels at once.

    With ``normalise``, layer norm (Ba et al., 2016) follows the first of them.
    """

    def __init__(
        self,
        channels: int,
        sizes: Sequence[int],
        *,
        dropout: float,
        normalise: bool,
        start: Start,
    ) -> None:
        super().__init__()
        self.dropout = dropout
        sizes = [*sizes, 1]
        self.weights = nn.ParameterList(start.linear(channels, a, b) for a, b in pairwise(sizes))
        self.biases = nn.ParameterList(
            start.bias(channels, 1, b, fan_in=a) for a, b in pairwise(sizes)
        )
        shape = (channels, 1, sizes[1])
        self.norm = nn.Parameter(torch.ones(shape)) if normalise else None
        self.norm_bias = nn.Parameter(torch.zeros(shape)) if normalise else None

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Map mixtures ``(b, c, o)`` to forecasts ``(b, c)``."""
        x, last = x.transpose(0, 1), len(self.weights) - 1
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(bias, x, weight)  # (c, b, t)
            if layer == 0 and self.norm is not None:
                x = nn.functional.layer_norm(x, x.shape[-1:])
                x = torch.addcmul(self.norm_bias, x, self.norm)
            if layer < last:
                x = dropped(activated(x, layer), self.training * self.dropout, generator)
        return x.squeeze(2).T


class NoTowers(nn.Module):
    """One linear layer from the mixture that the channels' mean gate gives to all channels."""

    def __init__(self, channels: int, out: int, start: Start) -> None:
        super().__init__()
        self.weight = start.linear(out, channels)
        self.bias = start.bias(channels, fan_in=out)

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Map mixtures ``(b, c, o)`` to forecasts ``(b, c)``."""
        # The mixture is linear in the shares: the mean of mixtures is the mixture of mean shares.
        return torch.addmm(self.bias, x.mean(dim=1), self.weight)
