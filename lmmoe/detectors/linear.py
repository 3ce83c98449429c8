"""One linear layer that forecasts the next row: what is left of a network without its depth."""

import torch
from torch import nn

from lmmoe.detectors import register
from lmmoe.detectors.forecaster import Forecaster
from lmmoe.networks.dense import dense


@register("linear")
class Linear(Forecaster):
    """One linear layer from the flattened window to the next row, trained like LightMMoE.

    The question it answers is that of "Are Transformers Effective for Time Series Forecasting?"
    (Zeng et al., AAAI 2023): how much of a network's result a linear map reaches. Here it sees all
    channels: 23,142 parameters at 38 channels and the default window. Settings: `Neural`'s, whose
    defaults are LightMMoE's.
    """

    name = "linear"

    def _build(self, channels: int, generator: torch.Generator | None = None) -> nn.Module:
        layer = dense(channels * self.window, channels, generator)
        return nn.Sequential(nn.Flatten(), layer)
