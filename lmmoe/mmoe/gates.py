"""Gates: how much each expert counts in each channel.

Axes: b batch, c channels, w window, e experts. Every gate maps windows ``(b, c, w)`` to shares
``(b, c, e)`` that sum to 1.
"""

import math

import torch
from torch import Tensor, nn

from lmmoe.mmoe.parts import Start

EMBEDDING = 16  # numbers of a query and of a key in the attention gate


class MeanGate(nn.Module):
    """No gate: all experts count the same."""

    def __init__(self, experts: int) -> None:
        super().__init__()
        self.experts = experts

    def forward(self, x: Tensor) -> Tensor:
        """Give 1 / e everywhere."""
        return x.new_full((*x.shape[:2], self.experts), 1 / self.experts)


class Mixed(nn.Module):
    """Weights of a channel's own gate and of the one that all share, mixed: ``(c, e, w)``.

    ``(1 - s) W_c + s W_shared`` (CAD, ESEC/FSE 2023, section 3.3); one that never counts is not
    there. With ``learned``, s is the logistic function of a weight, and starts at ``shared``.
    """

    def __init__(
        self,
        channels: int,
        window: int,
        experts: int,
        shared: float,
        *,
        learned: bool,
        start: Start,
    ) -> None:
        super().__init__()
        self.channels, self.shared = channels, shared
        self.own = start.gate(channels, experts, window) if shared < 1 or learned else None
        self.common = start.gate(experts, window) if shared > 0 or learned else None
        if learned:
            inside = min(max(shared, 0.01), 0.99)
            self.logit = nn.Parameter(torch.tensor(math.log(inside / (1 - inside))))
        else:
            self.logit = None

    def forward(self) -> Tensor:
        """Mix."""
        share = self.shared if self.logit is None else self.logit.sigmoid()
        if self.own is None:
            return self.common.expand(self.channels, -1, -1)
        if self.common is None:
            return self.own
        return (1 - share) * self.own + share * self.common


class SoftmaxGate(nn.Module):
    """Softmax over experts of a linear map of the channel's window.

    With ``temperature``, logits z become (z + bias) / tau, one bias for each expert and one tau,
    both learned.
    """

    def __init__(self, weights: Mixed, experts: int, *, temperature: bool) -> None:
        super().__init__()
        self.weights = weights
        self.bias = nn.Parameter(torch.zeros(experts, 1)) if temperature else None
        self.tau = nn.Parameter(torch.ones(())) if temperature else None

    def forward(self, x: Tensor) -> Tensor:
        """Give the shares."""
        logits = torch.bmm(self.weights(), x.permute(1, 2, 0))  # (c, e, b)
        if self.bias is not None:
            logits = (logits + self.bias) / self.tau
        # Experts before batch, since a softmax over the last, short axis is slow.
        return logits.softmax(dim=1).permute(2, 0, 1).contiguous()


class HierarchicalGate(nn.Module):
    """Two groups of experts: a softmax over the groups times one inside each."""

    def __init__(self, groups: Mixed, inside: Mixed) -> None:
        super().__init__()
        self.groups, self.inside = groups, inside

    def forward(self, x: Tensor) -> Tensor:
        """Give the shares; the first half of the experts is the first group."""
        windows = x.permute(1, 2, 0)
        groups = torch.bmm(self.groups(), windows).softmax(dim=1).unsqueeze(2)  # (c, 2, 1, b)
        inside = torch.bmm(self.inside(), windows)
        inside = inside.unflatten(1, (2, -1)).softmax(dim=2)  # (c, 2, e / 2, b)
        return (groups * inside).flatten(1, 2).permute(2, 0, 1).contiguous()


class AttentionGate(nn.Module):
    """The channel's embedding of its window asks, each expert has a learned key."""

    def __init__(self, channels: int, window: int, experts: int, start: Start) -> None:
        super().__init__()
        self.query = start.linear(channels, window, EMBEDDING)
        self.keys = start.normal(EMBEDDING, experts)

    def forward(self, x: Tensor) -> Tensor:
        """Softmax of the scaled products of query and keys."""
        query = torch.bmm(x.transpose(0, 1), self.query)  # (c, b, embedding)
        logits = query @ self.keys / math.sqrt(EMBEDDING)
        return logits.softmax(dim=2).transpose(0, 1).contiguous()


def gate(
    kind: str,
    channels: int,
    window: int,
    experts: int,
    shared: float,
    *,
    temperature: bool,
    start: Start,
) -> nn.Module:
    """Make a gate of one of the kinds "mixed", "learned", "mean", "attention", "hierarchical"."""
    if kind == "mean":
        return MeanGate(experts)
    if kind == "attention":
        return AttentionGate(channels, window, experts, start)

    def mixed(count: int) -> Mixed:
        return Mixed(channels, window, count, shared, learned=kind == "learned", start=start)

    if kind == "hierarchical":
        return HierarchicalGate(mixed(2), mixed(experts))
    return SoftmaxGate(mixed(experts), experts, temperature=temperature)
