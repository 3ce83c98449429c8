"""Linear layers whose weights a generator of one's own draws."""

import math
from collections.abc import Sequence

import torch
from torch import nn


def dense(inputs: int, outputs: int, generator: torch.Generator | None) -> nn.Linear:
    """Make a linear layer, weights and bias drawn by torch's own rule: uniform, 1 / sqrt(inputs).

    Without a generator all is 0, for weights that are about to be loaded. The global stream of
    random numbers, from which torch's layers draw, is left alone.
    """
    layer = nn.utils.skip_init(nn.Linear, inputs, outputs)
    for weights in layer.parameters():
        draw(weights, inputs, generator)
    return layer


def draw(weights: nn.Parameter, fan_in: int, generator: torch.Generator | None) -> None:
    """Fill weights uniformly up to 1 / sqrt(``fan_in``); with 0 where there is no generator."""
    bound = 0.0 if generator is None else 1 / math.sqrt(fan_in)
    with torch.no_grad():
        weights.zero_()
        if bound:
            weights.uniform_(-bound, bound, generator=generator)


def stack(sizes: Sequence[int], last: nn.Module, generator: torch.Generator | None) -> nn.Module:
    """Linear layers from each size to the next, ReLU between them, ``last`` after the last one."""
    layers: list[nn.Module] = []
    for inputs, outputs in zip(sizes, sizes[1:], strict=False):
        layers += [dense(inputs, outputs, generator), nn.ReLU()]
    return nn.Sequential(*layers[:-1], last)
