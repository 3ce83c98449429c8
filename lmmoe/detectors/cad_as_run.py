"""What gave the study's scores of CAD: a mixture of experts over flattened windows."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from lmmoe import kinds, training
from lmmoe.detectors import register
from lmmoe.detectors.base import Floats
from lmmoe.detectors.forecaster import Forecaster
from lmmoe.networks.dense import dense, draw

EXPERTS = 3
SIZES = (64, 32, 32)  # of an expert's layers


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
        # Columns: the first layers of expert after expert, then the gate.
        self.first = dense(channels * window, EXPERTS * first + EXPERTS, generator)
        self.second = _weights(EXPERTS, first, second, generator=generator)
        self.second_bias = _weights(EXPERTS, 1, second, generator=generator, fan_in=first)
        self.third = _weights(EXPERTS, second, out, generator=generator)
        self.third_bias = _weights(EXPERTS, 1, out, generator=generator, fan_in=second)
        self.out = dense(out, channels, generator)

    def forward(self, x: Tensor) -> Tensor:
        """Map windows ``(b, c, w)`` to the forecast of the next row ``(b, c)``."""
        first, gate = self.first(x.flatten(1)).split([EXPERTS * SIZES[0], EXPERTS], dim=1)
        hidden = first.relu().view(len(x), EXPERTS, -1).transpose(0, 1)  # (e, b, 64)
        hidden = torch.baddbmm(self.second_bias, hidden, self.second).relu()
        experts = torch.baddbmm(self.third_bias, hidden, self.third)  # (e, b, o)
        shares = gate.softmax(dim=1).T.unsqueeze(2)
        return self.out((shares * experts).sum(dim=0))


def _weights(
    *shape: int, generator: torch.Generator | None, fan_in: int | None = None
) -> nn.Parameter:
    weights = nn.Parameter(torch.empty(shape))
    draw(weights, fan_in or shape[1], generator)
    return weights


@register("CAD-as-run", epochs=8, batch=32)
class CADAsRun(Forecaster):
    """The network that gave the study's CAD scores, which is not the CAD that it describes.

    Neither convolutions nor a gate and a tower per channel: `FlatMixture`, 129,417 parameters at 38
    channels and 16 rows. It is trained on 10,000 windows (``examples``) drawn once at random,
    without dropout; under this name in batches of 32 for 8 epochs. Other settings: `Neural`'s.
    Where ``first_scores`` is "zero", as under the study's protocol, the first ``window`` rows get
    what they got there: the mean of all later scores, not 0. This looks ahead. CAD itself is in
    `lmmoe.detectors.lightmmoe`.
    """

    name = "CAD-as-run"

    def __init__(self, *, examples: int = 10_000, **others: object) -> None:
        super().__init__(**others)
        self.examples = examples
        kinds.whole(examples=examples)

    @property
    def plan(self) -> training.Plan:
        """How to train: on some of the windows only."""
        return replace(super().plan, most=self.examples)

    def _build(self, channels: int, generator: torch.Generator | None = None) -> FlatMixture:
        return FlatMixture(channels, self.window, generator)

    def _score(self, rows: Floats) -> Floats:
        scores = super()._score(rows)
        if self.first_scores == "zero":
            scores[: self.unscored] = scores[self.unscored :].mean()
        return scores
