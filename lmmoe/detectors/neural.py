"""What the detectors share that train a network on windows."""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from lmmoe import training
from lmmoe.detectors.base import Detector, First, Positive, Share, Whole
from lmmoe.detectors.scaling import Floats, Scaling


class Neural(Detector):
    """A network that is trained on the windows of the scaled training rows.

    Training: at most ``epochs`` (0: none) over all windows of ``window`` rows in batches of
    ``batch``, at ``learning_rate``, stopped after ``patience`` epochs without gain. ``device`` is
    any of torch's ("cpu", "cuda", "mps"). Networks of this size gain nothing from a second thread:
    ``threads``, an attribute and no setting since no score depends on it, is 1.

    A subclass gives ``_build``, ``_learner`` and how rows are scored; ``horizon`` 0 for one that
    rebuilds windows, whose score begins with the first window's last row.
    """

    horizon = 1
    stride = 1  # rows from one training window to the next
    watch = "held out"  # or "training": whose loss patience is about
    threads = 1

    held_out: Share = 0.1
    first_scores: First = "lowest"
    window: Whole = 16
    epochs: Annotated[int, Field(ge=0)] = 5
    batch: Whole = 64
    learning_rate: Positive = 1e-3
    patience: Whole = 3
    device: str = "cpu"

    @property
    def _context(self) -> int:
        """Rows before the first one that can be forecast or rebuilt from a whole window."""
        return self.window + self.horizon - 1

    @property
    def unscored(self) -> int:
        """All of them, unless a method has a score for rows without a whole window."""
        return self._context

    def _build(self, channels: int, generator: torch.Generator | None = None) -> nn.Module:
        """Make the network on the CPU, its weights drawn with ``generator``.

        A seed then starts every device from the same place.
        """
        raise NotImplementedError

    def _learner(
        self, network: nn.Module, inputs: Tensor, generator: torch.Generator
    ) -> training.Learner:
        """Say how the network learns from windows ``inputs`` ``(n, c, w)``.

        ``generator`` draws what training draws (dropout).
        """
        raise NotImplementedError

    @property
    def plan(self) -> training.Plan:
        """The settings that `lmmoe.training` asks for."""
        return training.Plan(
            window=self.window,
            epochs=self.epochs,
            batch=self.batch,
            patience=self.patience,
            horizon=self.horizon,
            stride=self.stride,
            watch=self.watch,
        )

    def _threads(self) -> AbstractContextManager:
        return training.threads(self.threads)

    def _fit(self, rows: Floats) -> None:
        self._scaling = Scaling.of(self.scaling, rows)
        network = self._build(rows.shape[1], torch.Generator().manual_seed(self.seed))
        network = network.to(self.device)
        generator = torch.Generator(self.device).manual_seed(self.seed)
        scaled, cut = self._scaled(rows), self._cut(len(rows))
        inputs, _ = training.examples(scaled[:cut], self.plan)
        learner = self._learner(network, inputs, generator)
        self.history = training.fit(
            learner,
            scaled[:cut],
            scaled[cut - self._context :] if cut < len(rows) else None,
            self.plan,
            generator=generator,
            title=self.name,
        )
        self.network = learner.network

    def _scaled(self, rows: Floats) -> Tensor:
        return torch.from_numpy(self._scaling(rows).astype(np.float32)).to(self.device)

    def _windows(self, rows: Floats) -> Tensor:
        """Windows ``(t - unscored, c, w)``, one for each row that can be scored, in time order."""
        scaled = self._scaled(rows)
        return training.windows(scaled[: len(scaled) - self.horizon], self.window)

    @property
    def parameters(self) -> int:
        """How many numbers the network learns; raises `RuntimeError` before ``fit``."""
        if not hasattr(self, "network"):
            raise RuntimeError(f"{self.name} has not been fitted: its size depends on the channels")
        return sum(weights.numel() for weights in self.network.parameters())

    def _state(self) -> dict[str, np.ndarray]:
        weights = {f"network.{k}": v.cpu().numpy() for k, v in self.network.state_dict().items()}
        history = {
            "history.training": np.array(self.history.training),
            "history.held_out": np.array(self.history.held_out),
            "history.best_epoch": np.array([self.history.best_epoch]),
        }
        return weights | history | self._scaling.state

    def _restore(self, state: dict[str, np.ndarray]) -> None:
        self._scaling = Scaling(state.pop("shift"), state.pop("scale"))
        self.history = training.History(
            state.pop("history.training").tolist(),
            state.pop("history.held_out").tolist(),
            int(state.pop("history.best_epoch")[0]),
        )
        self.network = self._restored(state).to(self.device)
        weights = prefixed(state, "network.")
        self.network.load_state_dict({k: torch.from_numpy(v) for k, v in weights.items()})
        self.network.eval()

    def _restored(self, state: dict[str, np.ndarray]) -> nn.Module:
        """Make the network whose weights ``state`` holds, before they are loaded."""
        return self._build(len(self._scaling.scale), torch.Generator())


class Forecaster(Neural):
    """Forecast the row ``horizon`` after each window ``(b, c, w)``.

    Score of a row: the mean over channels of the squared error of its forecast, in scaled units. A
    subclass gives ``_build``; and ``_learner``, if it is not trained on the squared error.
    """

    def _learner(
        self, network: nn.Module, inputs: Tensor, generator: torch.Generator
    ) -> training.Learner:
        def loss(windows: Tensor, target: Tensor) -> Tensor:
            return mse_loss(network(windows), target)

        return training.Descent(network, loss, training.adam(network, self.learning_rate))

    def forecasts(self, X: Floats) -> Floats:
        """Forecast rows ``unscored`` to the last of ``(t, c)`` in raw units: ``(t - unscored, c)``.

        Raises as `decision_function` does.
        """
        rows = self._fitted_rows(X)
        with self._threads():
            forecast = self._forecasts(rows)
        return self._scaling.undone(forecast.cpu().double().numpy())  # MPS has no doubles

    def _forecasts(self, rows: Floats) -> Tensor:
        """Forecast rows ``unscored`` to the last, in scaled units."""
        return torch.cat(list(training.outputs(self.network, self._windows(rows))))

    def _score_channels(self, rows: Floats) -> Floats:
        errors = (self._forecasts(rows) - self._scaled(rows)[self.unscored :]).square_()
        return errors.cpu().double().numpy()


def prefixed(state: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """Give the arrays whose names begin with ``prefix``, without it."""
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


# --- first weights ---


def dense(inputs: int, outputs: int, generator: torch.Generator | None) -> nn.Linear:
    """Make a linear layer whose weights `draw` draws; torch's global stream is left alone."""
    layer = nn.utils.skip_init(nn.Linear, inputs, outputs)
    for weights in layer.parameters():
        draw(weights, inputs, generator)
    return layer


def stack(sizes: Sequence[int], last: nn.Module, generator: torch.Generator | None) -> nn.Module:
    """Linear layers from each size to the next, ReLU between them, ``last`` after the last one."""
    layers: list[nn.Module] = []
    for inputs, outputs in zip(sizes, sizes[1:], strict=False):
        layers += [dense(inputs, outputs, generator), nn.ReLU()]
    return nn.Sequential(*layers[:-1], last)


def drawn(*shape: int, fan_in: int, generator: torch.Generator | None) -> nn.Parameter:
    """Make weights of any shape as torch starts linear layers and convolutions (`draw`)."""
    weights = nn.Parameter(torch.empty(shape))
    draw(weights, fan_in, generator)
    return weights


def draw(weights: nn.Parameter, fan_in: int, generator: torch.Generator | None) -> None:
    """Fill weights uniformly up to 1 / sqrt(``fan_in``), torch's own rule.

    Without a generator with 0, for weights that are about to be loaded.
    """
    bound = 0.0 if generator is None else 1 / math.sqrt(fan_in)
    with torch.no_grad():
        weights.zero_()
        if bound:
            weights.uniform_(-bound, bound, generator=generator)


# --- the study's loss ---

STRESSED = 0.9  # quantile of the squared errors above which they count twice


def absolute_and_squared(errors: Tensor) -> Tensor:
    """Mean absolute error plus mean squared error, the study's loss; ``errors`` of any shape.

    Squared errors above the 0.9 quantile of all that are given (linear interpolation) count twice.
    The quantile is a constant to the gradient.
    """
    squared = errors.square()
    # What lies above the interpolated quantile lies above the value below it, and the other way
    # round: no interpolation is needed.
    below = math.floor(STRESSED * (errors.numel() - 1))
    values = squared.detach().flatten()
    if values.device.type == "cpu":  # NumPy's is ten times as fast as torch's there
        limit = torch.from_numpy(np.partition(values.numpy(), below)[below : below + 1])
    else:
        limit = values.kthvalue(below + 1).values
    high = squared.detach() > limit
    return (errors.abs() + squared * (high + 1.0)).mean()
