"""The multi-gate mixture of experts that forecasts a row: the network alone."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from lmmoe.mmoe.experts import SeriesExperts, WindowExperts
from lmmoe.mmoe.gates import gate as make_gate
from lmmoe.mmoe.parts import Start, keep_mask
from lmmoe.mmoe.towers import NoTowers, Towers

__all__ = ["Gate", "MMoE", "keep_mask"]

Gate = Literal["mixed", "learned", "mean", "attention", "hierarchical"]


class MMoE(nn.Module):
    """Forecast every channel's value from a window of all channels.

    Axes: b batch, c channels, w window, e experts, o expert output.

    An expert sees the windows of all channels through convolutions (``kernels``) and linear layers
    (``hidden``, then ``out``). A channel's gate mixes the experts' outputs, and the channel's own
    ``tower`` makes its forecast of the mixture; an empty ``tower`` is one linear layer for all.
    ``shared`` is the share of the gate that all channels have in common. The idea of personal and
    shared gates is CAD's ("Beyond Sharing: Conflict-Aware Multivariate Time Series Anomaly
    Detection", ESEC/FSE 2023).
    """

    def __init__(
        self,
        *,
        channels: int,
        window: int,
        experts: int,
        kernels: Sequence[int],
        hidden: Sequence[int],
        out: int,
        tower: Sequence[int],
        shared: float,
        gate: Gate = "mixed",
        temperature: bool = False,
        expert: Literal["window", "series"] = "window",
        normalise: bool = False,
        expert_dropout: float = 0.0,
        tower_dropout: float = 0.0,
        init: Literal["torch", "xavier"] = "torch",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        start = Start(init, generator)
        shape = {"experts": experts, "layers": (*hidden, out), "dropout": expert_dropout}
        if expert == "series":
            self.experts = SeriesExperts(channels, window, kernels=kernels[0], start=start, **shape)
        else:
            self.experts = WindowExperts(
                channels, window, kernels=kernels, normalise=normalise, start=start, **shape
            )
        self.gate = make_gate(
            gate, channels, window, experts, shared, temperature=temperature, start=start
        )
        if tower:
            self.towers = Towers(
                channels, (out, *tower), dropout=tower_dropout, normalise=normalise, start=start
            )
        else:
            self.towers = NoTowers(channels, out, start)

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Map windows ``(b, c, w)`` to the forecast of a row ``(b, c)``.

        In training mode, ``generator`` draws the dropout masks.
        """
        expert = self.experts(x, generator)
        mixed = torch.bmm(self.gate(x), expert.transpose(0, 1))  # (b, c, o)
        return self.towers(mixed, generator)
