"""Two networks that forecast the next row from the flattened window: one layer, and CAD as run."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from lmmoe import training
from lmmoe.detectors.base import Whole
from lmmoe.detectors.neural import Forecaster, dense, drawn
from lmmoe.detectors.scaling import Floats

EXPERTS = 3
SIZES = (64, 32, 32)  # of an expert's layers


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


class FlatMixture(nn.Module):
    """Three experts and one softmax gate, all over the flattened window; one linear output.

    Axes: b batch, c channels, n = c times window, e experts, o expert output. An expert has layers
    of 64, 32 and 32 units with ReLU between them. All experts are computed at once: the first
    layers and the gate are one product.
    """

    def __init__(
        self, channels: int, window: int, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        first, second, out = SIZES

        def weights(*shape: int, fan_in: int) -> nn.Parameter:
            return drawn(EXPERTS, *shape, fan_in=fan_in, generator=generator)

        # Columns: the first layers of expert after expert, then the gate.
        self.first = dense(channels * window, EXPERTS * first + EXPERTS, generator)
        self.second = weights(first, second, fan_in=first)
        self.second_bias = weights(1, second, fan_in=first)
        self.third = weights(second, out, fan_in=second)
        self.third_bias = weights(1, out, fan_in=second)
        self.out = dense(out, channels, generator)

    def forward(self, x: Tensor) -> Tensor:
        """Map windows ``(b, c, w)`` to the forecast of the next row ``(b, c)``."""
        first, gate = self.first(x.flatten(1)).split([EXPERTS * SIZES[0], EXPERTS], dim=1)
        hidden = first.relu().view(len(x), EXPERTS, -1).transpose(0, 1)  # (e, b, 64)
        hidden = torch.baddbmm(self.second_bias, hidden, self.second).relu()
        experts = torch.baddbmm(self.third_bias, hidden, self.third)  # (e, b, o)
        shares = gate.softmax(dim=1).T.unsqueeze(2)
        return self.out((shares * experts).sum(dim=0))


class CADAsRun(Forecaster):
    """The network that gave the study's CAD scores, which is not the CAD that it describes.

    Neither convolutions nor a gate and a tower per channel: `FlatMixture`, 129,417 parameters at 38
    channels and 16 rows. It is trained on 10,000 windows (``examples``) drawn once at random,
    without dropout; by its preset in batches of 32 for 8 epochs. Other settings: `Neural`'s. Where
    ``first_scores`` is "zero", as under the study's protocol, the first ``window`` rows get what
    they got there: the mean of all later scores, not 0. This looks ahead. CAD itself is a preset of
    `lmmoe.detectors.mixture`.
    """

    name = "CAD-as-run"

    examples: Whole = 10_000

    @property
    def plan(self) -> training.Plan:
        """How to train: on some of the windows only."""
        return replace(super().plan, most=self.examples)

    def _build(self, channels: int, generator: torch.Generator | None = None) -> FlatMixture:
        return FlatMixture(channels, self.window, generator)

    def _first_score(self, late: Floats) -> float:
        return late.min() if self.first_scores == "lowest" else late.mean()
