"""Scoring in half the bits by PyTorch: bfloat16, eight bits of exponent and seven of fraction.

Where the processor has no products in this type, it is slower than single precision.
"""

import copy

import numpy as np
import numpy.typing as npt
import torch

from lmmoe import training
from lmmoe.detectors.base import Floats
from lmmoe.detectors.neural import Forecaster


class Bfloat16:
    """A fitted forecaster whose network runs in bfloat16; scaling and errors are as before."""

    def __init__(self, made: Forecaster) -> None:
        self.made = made
        self.network = copy.deepcopy(made.network).to(torch.bfloat16)

    def decision_function(self, X: npt.ArrayLike) -> Floats:
        """Score rows ``(t, c)``: ``(t,)``; raises as the detector's own method does."""
        made = self.made
        rows = made._fitted_rows(X)
        inputs = made._windows(rows).to(torch.bfloat16)
        forecast = torch.cat(list(training.outputs(self.network, inputs))).float()
        late = (forecast - made._scaled(rows)[made.unscored :]).square().mean(dim=1)
        scores = late.cpu().double().numpy()
        first = scores.min() if made.first_scores == "lowest" else 0.0
        return np.concatenate([np.full(made.unscored, first), scores])
