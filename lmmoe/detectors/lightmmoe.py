"""LightMMoE: forecast the next row, and call it anomalous where the forecast fails."""

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from lmmoe import training
from lmmoe.detectors import register
from lmmoe.detectors.base import Detector, Floats
from lmmoe.detectors.scaling import ZScore
from lmmoe.mmoe import MMoE


@register("LightMMoE")
class LightMMoE(Detector):
    """A light multi-gate mixture of experts; the defaults are the study's settings.

    Score of a row: the mean over channels of the squared error of its forecast, in z-scores. The
    first ``window`` rows have no forecast; they get the lowest score of the series, or 0 with
    ``first_scores="zero"``, as the study does.

    The network is `lmmoe.mmoe.MMoE`: ``experts`` of ``kernels``, ``hidden`` and ``out`` units, a
    ``tower`` for each channel, ``shared`` the share of the common gate. Training: ``epochs`` over
    all windows in batches of ``batch``, Adam at ``learning_rate``. The share ``held_out`` at the
    end of the training rows is kept out for early stopping after ``patience`` epochs without gain;
    0 trains on all rows for all epochs. ``device`` is any of torch's ("cpu", "cuda", "mps").
    """

    name = "LightMMoE"

    def __init__(
        self,
        *,
        window: int = 16,
        experts: int = 4,
        kernels: int = 8,
        hidden: int = 128,
        out: int = 64,
        tower: int = 16,
        shared: float = 0.7,
        expert_dropout: float = 0.2,
        tower_dropout: float = 0.1,
        epochs: int = 5,
        batch: int = 64,
        learning_rate: float = 1e-3,
        held_out: float = 0.1,
        patience: int = 3,
        first_scores: Literal["lowest", "zero"] = "lowest",
        device: str = "cpu",
        seed: int = 0,
        contamination: float = 0.1,
    ) -> None:
        super().__init__(seed=seed, contamination=contamination)
        self.window, self.experts, self.kernels = window, experts, kernels
        self.hidden, self.out, self.tower, self.shared = hidden, out, tower, shared
        self.expert_dropout, self.tower_dropout = expert_dropout, tower_dropout
        self.epochs, self.batch, self.learning_rate = epochs, batch, learning_rate
        self.held_out, self.patience = held_out, patience
        self.first_scores, self.device = first_scores, device
        self._check()
        self.min_rows = window + 1

    def _check(self) -> None:
        counts = ("window", "experts", "kernels", "hidden", "out", "tower")
        for name in (*counts, "epochs", "batch", "patience"):
            if getattr(self, name) < 1 or getattr(self, name) != int(getattr(self, name)):
                raise ValueError(
                    f"{name}={getattr(self, name)}: a whole number from 1 on is needed"
                )
        for name in ("expert_dropout", "tower_dropout", "held_out"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(
                    f"{name}={getattr(self, name)}: a share from 0 to below 1 is needed"
                )
        if not 0 <= self.shared <= 1:
            raise ValueError(f"shared={self.shared}: a share from 0 to 1 is needed")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate={self.learning_rate}: it must be above 0")
        if self.first_scores not in ("lowest", "zero"):
            raise ValueError(f"first_scores={self.first_scores!r}: use 'lowest' or 'zero'")

    def _build(self, channels: int, generator: torch.Generator | None = None) -> MMoE:
        sizes = ("window", "experts", "kernels", "hidden", "out", "tower", "shared")
        names = (*sizes, "expert_dropout", "tower_dropout")
        settings = {name: getattr(self, name) for name in names}
        return MMoE(channels=channels, generator=generator, **settings).to(self.device)

    def _fit(self, rows: Floats) -> None:
        self._scaling = ZScore.of(rows)
        # Weights are drawn on the CPU, so that a seed starts every device from the same place.
        self.network = self._build(rows.shape[1], torch.Generator().manual_seed(self.seed))
        scaled = self._scaled(rows)
        cut = len(rows) - int(self.held_out * len(rows))
        fits = cut > self.window  # too few rows to fit and hold out: fit on all
        self.history = training.fit(
            self.network,
            scaled[:cut] if fits else scaled,
            scaled[cut - self.window :] if fits and cut < len(rows) else None,
            window=self.window,
            batch=self.batch,
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            patience=self.patience,
            generator=torch.Generator(self.device).manual_seed(self.seed),
            title=self.name,
        )

    def _scaled(self, rows: Floats) -> Tensor:
        return torch.from_numpy(self._scaling(rows).astype(np.float32)).to(self.device)

    def forecasts(self, X: Floats) -> Floats:
        """Forecast rows ``window`` to the last of ``(t, c)`` in raw units: ``(t - window, c)``.

        Raises as `decision_function` does.
        """
        rows = self._scaled(self._fitted_rows(X))
        scaled = training.forecasts(self.network, rows, self.window)
        return scaled.cpu().double().numpy() * self._scaling.scale + self._scaling.mean

    def gate_weights(self, X: Floats) -> Floats:
        """Each expert's share in each channel's forecast: ``(t - window, c, e)``.

        The shares of a channel sum to 1. Raises as `decision_function` does.
        """
        rows = self._scaled(self._fitted_rows(X))
        with torch.inference_mode():
            parts = training.windows(rows[:-1], self.window).split(1024)
            return torch.cat([self.network.gate_weights(part) for part in parts]).cpu().numpy()

    def _channel_scores(self, rows: Floats) -> Floats:
        """Squared errors in z-scores; 0 in the first ``window`` rows, which have no forecast."""
        errors = training.squared_errors(self.network, self._scaled(rows), self.window)
        first = np.zeros((self.window, rows.shape[1]))
        return np.concatenate([first, errors.cpu().double().numpy()])  # MPS has no doubles

    def _score(self, rows: Floats) -> Floats:
        scores = self._channel_scores(rows).mean(axis=1)
        if self.first_scores == "lowest":
            scores[: self.window] = scores[self.window :].min()
        return scores

    @property
    def parameters(self) -> int:
        """How many numbers the network learns: 232,390 at the defaults and 38 channels."""
        return sum(weights.numel() for weights in self.network.parameters())

    def _state(self) -> dict[str, np.ndarray]:
        weights = {f"network.{k}": v.cpu().numpy() for k, v in self.network.state_dict().items()}
        history = {
            "history.training": np.array(self.history.training),
            "history.held_out": np.array(self.history.held_out),
            "history.best_epoch": np.array([self.history.best_epoch]),
        }
        return weights | history | {"mean": self._scaling.mean, "scale": self._scaling.scale}

    def _restore(self, state: dict[str, np.ndarray]) -> None:
        self._scaling = ZScore(state.pop("mean"), state.pop("scale"))
        self.history = training.History(
            state.pop("history.training").tolist(),
            state.pop("history.held_out").tolist(),
            int(state.pop("history.best_epoch")[0]),
        )
        self.network = self._build(len(self._scaling.mean))
        prefix = "network."
        weights = {k.removeprefix(prefix): torch.from_numpy(v) for k, v in state.items()}
        self.network.load_state_dict(weights)
        self.network.eval()
