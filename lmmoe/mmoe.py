"""The multi-gate mixture of experts that forecasts the next row: the network alone."""

import math

import torch
from torch import Tensor, nn


class MMoE(nn.Module):
    """Forecast every channel's next value from a window of all channels.

    Axes: b batch, c channels, w window, e experts, k kernels, d hidden, o expert output, t tower.

    An expert is a convolution that spans the whole window of one channel (k kernels, the same for
    all channels), ReLU, dropout, a hidden layer with ReLU and dropout, an output layer. A channel's
    gate is a softmax over experts of ``(1 - s) x_c W_c + s x_c W_shared``, with s = ``shared``; the
    gated mean of the experts' outputs goes through the channel's own tower. The idea of personal
    and shared gates is CAD's ("Beyond Sharing: Conflict-Aware Multivariate Time Series Anomaly
    Detection", ESEC/FSE 2023); the sizes are LightMMoE's.

    All experts, and all channels, are computed at once: their weights lie in one tensor each.
    """

    def __init__(
        self,
        *,
        channels: int,
        window: int = 16,
        experts: int = 4,
        kernels: int = 8,
        hidden: int = 128,
        out: int = 64,
        tower: int = 16,
        shared: float = 0.7,
        expert_dropout: float = 0.2,
        tower_dropout: float = 0.1,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.window, self.shared = window, shared
        self.expert_dropout, self.tower_dropout = expert_dropout, tower_dropout

        def weight(*shape: int, fan_in: int) -> nn.Parameter:
            bound = 1 / math.sqrt(fan_in)  # torch's own rule for linear layers and convolutions
            return nn.Parameter(torch.empty(shape).uniform_(-bound, bound, generator=generator))

        self.conv = weight(window, experts * kernels, fan_in=window)
        self.conv_bias = weight(experts * kernels, fan_in=window)
        self.hidden = weight(experts, channels * kernels, hidden, fan_in=channels * kernels)
        self.hidden_bias = weight(experts, 1, hidden, fan_in=channels * kernels)
        self.out = weight(experts, hidden, out, fan_in=hidden)
        self.out_bias = weight(experts, 1, out, fan_in=hidden)
        self.gates = nn.Parameter(torch.randn(channels, experts, window, generator=generator))
        self.shared_gate = nn.Parameter(torch.randn(experts, window, generator=generator))
        self.tower = weight(channels, out, tower, fan_in=out)
        self.tower_bias = weight(channels, 1, tower, fan_in=out)
        self.head = weight(channels, tower, 1, fan_in=tower)
        self.head_bias = weight(channels, 1, 1, fan_in=tower)

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Map windows ``(b, c, w)`` to the forecast of the next row ``(b, c)``.

        In training mode, ``generator`` draws the dropout masks.
        """
        expert = self.experts(x, generator)
        mixed = torch.bmm(self.gate_weights(x), expert.transpose(0, 1))  # (b, c, o)
        inner = torch.baddbmm(self.tower_bias, mixed.transpose(0, 1), self.tower).relu()
        inner = self._drop(inner, self.tower_dropout, generator)  # (c, b, t)
        return torch.baddbmm(self.head_bias, inner, self.head).squeeze(2).T

    def experts(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Outputs of all experts on windows ``(b, c, w)``: ``(e, b, o)``."""
        batch, channels, window = x.shape
        count = len(self.out)
        # One product for the kernels of all experts: many narrow ones would be several times
        # slower.
        convolved = torch.addmm(self.conv_bias, x.reshape(batch * channels, window), self.conv)
        convolved = self._drop(convolved.relu(), self.expert_dropout, generator)  # (b c, e k)
        flat = convolved.view(batch, channels, count, -1).permute(2, 0, 1, 3).flatten(2)
        hidden = torch.baddbmm(self.hidden_bias, flat, self.hidden).relu()  # (e, b, d)
        hidden = self._drop(hidden, self.expert_dropout, generator)
        return torch.baddbmm(self.out_bias, hidden, self.out)

    def gate_weights(self, x: Tensor) -> Tensor:
        """Each expert's share in each channel on windows ``(b, c, w)``: ``(b, c, e)``."""
        gates = (1 - self.shared) * self.gates + self.shared * self.shared_gate  # (c, e, w)
        # Experts before batch, since a softmax over the last, short axis is slow.
        return torch.bmm(gates, x.permute(1, 2, 0)).softmax(dim=1).permute(2, 0, 1).contiguous()

    def _drop(self, x: Tensor, share: float, generator: torch.Generator | None) -> Tensor:
        if not self.training or share == 0:
            return x
        return x * keep_mask(x, share, generator)


def keep_mask(x: Tensor, share: float, generator: torch.Generator | None) -> Tensor:
    """Dropout's mask for ``x``: 0 for ``share`` of the elements, 1 / (1 - share) for the rest.

    Not nn.Dropout: it draws from the global stream, and a seed must be the detector's own. Each
    64-bit draw serves four elements, 16 bits each, which makes masks several times cheaper; the
    share is thereby rounded to a multiple of 2**-16.
    """
    draws = torch.empty((x.numel() + 3) // 4, dtype=torch.int64, device=x.device)
    draws.random_(-(2**63), None, generator=generator)
    bits = draws.view(torch.int16)[: x.numel()].view(x.shape)
    dropped = min(round(share * 2**16), 2**16 - 1)
    return (bits >= dropped - 2**15).to(x.dtype).mul_(1 / (1 - share))
