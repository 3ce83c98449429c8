"""Losses that more than one network is trained with."""

import math

import numpy as np
import torch
from torch import Tensor

STRESSED = 0.9  # quantile of the squared errors above which they count twice: the study's


def absolute_and_squared(errors: Tensor) -> Tensor:
    """Mean absolute error plus mean squared error, the study's loss; ``errors`` of any shape.

    Squared errors above the 0.9 quantile of all that are given (linear interpolation) count twice.
    The quantile is a constant to the gradient.
    """
    squared = errors.square()
    # What lies above the interpolated quantile lies above the value below it, and the other way
    # round: no interpolation is needed.
    below = math.floor(STRESSED * (errors.numel() - 1))
    high = squared.detach() > _ordered(squared.detach().flatten(), below)
    return (errors.abs() + squared * (high + 1.0)).mean()


def _ordered(values: Tensor, place: int) -> Tensor:
    """Which value ``()`` of ``(n,)`` stands at a place, from 0, when they are sorted."""
    if values.device.type == "cpu":  # NumPy's is ten times as fast as torch's there
        return torch.from_numpy(np.partition(values.numpy(), place)[place : place + 1])
    return values.kthvalue(place + 1).values
