"""Experts that come and go while the network learns: the study's future work."""

import torch
from torch import Tensor

from lmmoe import training
from lmmoe.mmoe import MMoE

RARE, BUSY = 0.5, 2.0  # mean share, in units of 1 / experts: below one leaves, above one splits
MOST = 16  # experts; at least one is always left, since shares sum to 1
NOISE = 0.01  # deviation of the noise on a split expert, as a share of each weight's deviation


def kept_and_split(shares: Tensor) -> list[int]:
    """Give the experts of the next epoch by number, given their mean shares ``(e,)``.

    One whose share is under 0.5 / e is dropped, one over 2 / e stands there twice.
    """
    count = len(shares)
    # Not ">=": shares that are no numbers keep all, and training says that it diverged.
    kept = [i for i in range(count) if not float(shares[i]) * count < RARE]
    busy = [i for i in kept if float(shares[i]) * count > BUSY]
    return kept + busy[: max(0, MOST - len(kept))]


def mean_shares(network: MMoE, inputs: Tensor) -> Tensor:
    """Mean share of each expert over windows ``(n, c, w)`` and channels: ``(e,)``."""
    parts = training.outputs(network.gate, inputs)
    return torch.stack([part.sum(dim=(0, 1)) for part in parts]).sum(dim=0) / (
        inputs.shape[0] * inputs.shape[1]
    )


def resized(
    state: dict[str, Tensor], experts: list[int], generator: torch.Generator
) -> dict[str, Tensor]:
    """Weights of a network whose experts are those of ``experts``, repeated ones with noise."""
    count = len(state["experts.layers.weights.0"])
    twice = [number for number, expert in enumerate(experts) if expert in experts[:number]]
    chosen = {}
    for name, weight in state.items():
        axis = _axis(name)
        if axis is None:
            chosen[name] = weight
            continue
        split = weight.unflatten(axis, (count, -1)) if name in JOINED else weight
        split = split.index_select(axis, torch.tensor(experts, device=weight.device))
        if weight.is_floating_point():
            for number in twice:
                place = split.select(axis, number)
                noise = torch.randn(place.shape, generator=generator, device=place.device)
                place += NOISE * weight.std(correction=0) * noise
        chosen[name] = split.flatten(axis, axis + 1) if name in JOINED else split
    return chosen


# Weights in which the experts' kernels stand side by side on one axis.
JOINED = ("experts.conv", "experts.conv_bias")


def _axis(name: str) -> int | None:
    """Which axis of a weight is the experts'."""
    if name in ("experts.conv", "gate.weights.own"):
        return 1
    own = name.startswith("experts.") or name in ("gate.weights.common", "gate.bias")
    return 0 if own else None
