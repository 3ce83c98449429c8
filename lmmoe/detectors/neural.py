"""What the detectors share that train a network on windows, and the simplest of them."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Generator, Tensor, nn
from torch.nn.functional import mse_loss
from torch.optim import Optimizer

from lmmoe import training
from lmmoe.detectors.base import Arrays, Detector, First, Positive, Share, Whole
from lmmoe.detectors.scaling import Floats, Scaling
from lmmoe.training import Descent


class Neural(Detector):
    """A network that is trained on the windows of the scaled training rows (`training.fit`).

    ``device`` is any of torch's ("cpu", "cuda", "mps"); ``threads``, no setting since no score
    depends on it, is 1. A subclass gives ``_build`` and how rows are scored; ``horizon`` 0 for one
    that rebuilds windows; and what it learns by, if not Adam on the mean squared error.
    """

    horizon = 1  # the target is so many rows after the window; 0: the window itself
    stride = 1  # rows from one training window to the next
    watch = "held out"  # or "training": whose loss patience is about
    most = None  # learn from so many windows, drawn once; None: from all
    threads = 1
    weight_decay, decoupled, flat = 0.0, False, False  # of `training.adam`
    clip = 0.0  # highest norm of the gradient; 0: no bound

    held_out: Share = 0.1
    first_scores: First = "lowest"
    window: Whole = 16
    epochs: Annotated[int, Field(ge=0)] = 5
    batch: Whole = 64
    learning_rate: Positive = 1e-3
    patience: Whole = 3
    device: str = "cpu"

    def _build(self, channels: int) -> nn.Module:
        """Make the network, its weights drawn from torch's global stream (`_drawn` seeds it)."""
        raise NotImplementedError

    def _loss(self, network: nn.Module, windows: Tensor, target: Tensor, dice: Generator) -> Tensor:
        """Mean loss of windows ``(b, c, w)`` and rows ``(b, c)``; ``dice`` draw dropout."""
        return mse_loss(network(windows), target if self.horizon else windows)

    def _schedule(self, optimiser: Optimizer) -> Callable[[float], None] | None:
        """Give what changes the learning rate after each epoch, by its mean training loss."""

    def _learner(self, network: nn.Module, inputs: Tensor, generator: Generator) -> Descent:
        """Say how it learns from windows ``(n, c, w)``; ``generator`` draws dropout."""
        how = {"decoupled": self.decoupled, "flat": self.flat}
        optimiser = training.adam(network, self.learning_rate, self.weight_decay, **how)
        loss = partial(self._loss, network, dice=generator)
        schedule = self._schedule(optimiser)
        return Descent(network, loss, optimiser, clip=self.clip, schedule=schedule)

    def _on_windows(self, function: Callable[[Tensor], Tensor], rows: Floats) -> Floats:
        """Apply a function of windows ``(n, c, w)`` to those of `_windows`."""
        return training.outputs(function, self._windows(rows)).cpu().double().numpy()

    def _threads(self) -> AbstractContextManager:
        return training.threads(self.threads)

    def _fit(self, rows: Floats) -> None:
        self._scaling = Scaling.of(self.scaling, rows)
        network = self._drawn(rows.shape[1]).to(self.device)
        generator = torch.Generator(self.device).manual_seed(self.seed)
        scaled, cut = self._scaled(rows), self._cut(len(rows))
        inputs, _ = training.examples(scaled[:cut], self)
        learner = self._learner(network, inputs, generator)
        context = self.window + self.horizon - 1  # of the first held-out row
        held_out = scaled[cut - context :] if cut < len(rows) else None
        self.history = training.fit(learner, scaled[:cut], held_out, self, generator)
        self.network = learner.network

    def _drawn(self, *sizes: int) -> nn.Module:
        """Build on the CPU, so that a seed starts every device from the same place."""
        with torch.random.fork_rng([]):  # torch's global stream is left alone
            torch.default_generator.manual_seed(self.seed)
            return self._build(*sizes)

    def _scaled(self, rows: Floats) -> Tensor:
        return torch.from_numpy(self._scaling(rows).astype(np.float32)).to(self.device)

    def _windows(self, rows: Floats) -> Tensor:
        """Windows ``(t - unscored, c, w)``, one for each row that can be scored, in time order."""
        scaled = self._scaled(rows)
        return scaled[: len(scaled) - self.horizon].unfold(0, self.window, 1)

    @property
    def parameters(self) -> int:
        """How many numbers the network learns."""
        return sum(weights.numel() for weights in self.network.parameters())

    def _state(self) -> Arrays:
        weights = {f"network.{k}": v.cpu().numpy() for k, v in self.network.state_dict().items()}
        history = {f"history.{k}": np.atleast_1d(v) for k, v in vars(self.history).items()}
        return weights | history | vars(self._scaling)

    def _restore(self, state: Arrays) -> None:
        self._scaling = Scaling(state["shift"], state["scale"])
        history = prefixed(state, "history.")
        losses, held_out = history["training"].tolist(), history["held_out"].tolist()
        (best,) = history["best_epoch"].tolist()
        self.history = training.History(losses, held_out, int(best))
        weights = {k: torch.from_numpy(v) for k, v in prefixed(state, "network.").items()}
        with torch.device("meta"):  # without memory: the weights must fit the settings first
            self._drawn(*self._shape(state)).load_state_dict(weights, assign=True)
        self.network = self._drawn(*self._shape(state)).to(self.device).eval()
        self.network.load_state_dict(weights)

    def _shape(self, state: Arrays) -> tuple[int, ...]:
        """What to call `_build` with for the weights in ``state``."""
        return (len(state["shift"]),)


class Forecaster(Neural):
    """Forecast the row ``horizon`` after each window; a subclass gives ``_build``.

    Score of a row: the mean over channels of the squared error of its forecast, in scaled units.
    """

    def forecasts(self, X: Floats) -> Floats:
        """Forecast rows ``unscored`` to the last of ``(t, c)`` in raw units: ``(t - unscored, c)``.

        Raises as `decision_function` does.
        """
        rows = self._fitted_rows(X)
        with self._threads():
            forecast = self._forecasts(rows)
        return self._scaling.undone(forecast.cpu().double().numpy())  # MPS has no doubles

    def _forecasts(self, rows: Floats) -> Tensor:
        return training.outputs(self.network, self._windows(rows))

    def _score_channels(self, rows: Floats) -> Floats:
        errors = (self._forecasts(rows) - self._scaled(rows)[self.unscored :]).square_()
        return errors.cpu().double().numpy()


class Linear(Forecaster):
    """One linear layer from the flattened window to the next row, trained like LightMMoE.

    The question of "Are Transformers Effective for Time Series Forecasting?" (Zeng et al., AAAI
    2023): how much of a network's result a linear map reaches. Here it sees all channels.
    """

    name = "linear"

    def _build(self, channels: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(channels * self.window, channels))


def prefixed(state: Arrays, prefix: str) -> Arrays:
    """Give the arrays whose names begin with ``prefix``, without it."""
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def absolute_and_squared(errors: Tensor) -> Tensor:
    """Mean absolute error plus mean squared error, the study's loss; ``errors`` of any shape.

    Squared errors above the 0.9 quantile of all that are given count twice.
    """
    squared = errors.square()
    # Above the interpolated quantile lies what lies above the value below it.
    below = math.floor(0.9 * (errors.numel() - 1))
    high = squared.detach() > squared.detach().flatten().kthvalue(below + 1).values
    return (errors.abs() + squared * (high + 1.0)).mean()
