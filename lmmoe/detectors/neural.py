"""What the detectors share that train a network on windows."""

from abc import abstractmethod
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from lmmoe import kinds, training
from lmmoe.detectors.base import Floats
from lmmoe.detectors.scaling import Scaling
from lmmoe.detectors.windowed import Windowed


class Neural(Windowed):
    """A network that is trained on the windows of the scaled training rows.

    Training: at most ``epochs`` (0: none) over all windows of ``window`` rows in batches of
    ``batch``, at ``learning_rate``, stopped after ``patience`` epochs without gain. ``device`` is
    any of torch's ("cpu", "cuda", "mps").

    A subclass gives ``_build``, ``_learner`` and ``_late_channel_scores`` (or ``_late_scores``);
    ``horizon`` 1 for a forecaster (whose score begins after the first window) and 0 for a
    reconstructor (whose score begins with the first window's last row).
    """

    horizon = 1
    stride = 1
    watch: Literal["held out", "training"] = "held out"

    def __init__(
        self,
        *,
        window: int = 16,
        epochs: int = 5,
        batch: int = 64,
        learning_rate: float = 1e-3,
        patience: int = 3,
        device: str = "cpu",
        **others: object,
    ) -> None:
        super().__init__(**others)
        self.window, self.epochs, self.batch = window, epochs, batch
        self.learning_rate, self.patience, self.device = learning_rate, patience, device
        kinds.whole(window=window, batch=batch, patience=patience)
        kinds.whole(0, epochs=epochs)
        kinds.positive(learning_rate=learning_rate)

    @property
    def _context(self) -> int:
        """Rows before the first one that can be forecast or rebuilt from a whole window."""
        return self.window + self.horizon - 1

    @property
    def unscored(self) -> int:
        """All of them, unless a method has a score for rows without a whole window."""
        return self._context

    @abstractmethod
    def _build(self, channels: int, generator: torch.Generator | None = None) -> nn.Module:
        """Make the network on the CPU, its weights drawn with ``generator``.

        A seed then starts every device from the same place.
        """

    @abstractmethod
    def _learner(
        self, network: nn.Module, inputs: Tensor, generator: torch.Generator
    ) -> training.Learner:
        """Say how the network learns from windows ``inputs`` ``(n, c, w)``.

        ``generator`` draws what training draws (dropout).
        """

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

    def _fit(self, rows: Floats) -> None:
        self._scaling = self._scaler(rows)
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

    def _scaler(self, rows: Floats) -> Scaling:
        return Scaling.z_score(rows)

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


def prefixed(state: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """Give the arrays whose names begin with ``prefix``, without it."""
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
