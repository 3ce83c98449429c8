"""The MMoE family as detectors: one network with many settings, forecasting a row."""

from collections.abc import Callable
from typing import Literal, get_type_hints

import numpy as np
import torch
from torch import Tensor, nn

from lmmoe import kinds, training
from lmmoe.detectors.base import Floats
from lmmoe.detectors.forecaster import Forecaster
from lmmoe.detectors.scaling import Scaling
from lmmoe.mmoe import Gate, MMoE

LOSSES = {
    "mse": nn.functional.mse_loss,
    "l1": nn.functional.l1_loss,
    "huber": nn.functional.huber_loss,
}


class Mixture(Forecaster):
    """A multi-gate mixture of experts; the defaults are LightMMoE's.

    Score of a row: `Forecaster`'s, for a forecast made ``horizon`` rows before. The network is
    `lmmoe.mmoe.MMoE`: ``experts`` of ``kernels``, ``hidden`` and ``out`` units (a list where there
    are several layers), a ``tower`` for each channel (an empty list: none), ``shared`` the share of
    the common ``gate``. ``loss`` is what training lowers; ``clip`` bounds the gradient's norm (0:
    no bound); ``plateau`` lowers the learning rate by 0.8 after 3 epochs without a lower training
    loss. ``adaptive`` drops and splits experts after each epoch. ``scaling="none"`` leaves the data
    as published. The rest: `Neural`.
    """

    def __init__(
        self,
        *,
        experts: int = 4,
        kernels: int | list[int] = 8,
        hidden: int | list[int] = 128,
        out: int = 64,
        tower: int | list[int] = 16,
        shared: float = 0.7,
        gate: Gate = "mixed",
        temperature: bool = False,
        expert: Literal["window", "series"] = "window",
        normalise: bool = False,
        init: Literal["torch", "xavier"] = "torch",
        expert_dropout: float = 0.2,
        tower_dropout: float = 0.1,
        horizon: int = 1,
        loss: Literal["mse", "l1", "huber"] = "mse",
        weight_decay: float = 0.0,
        clip: float = 0.0,
        plateau: bool = False,
        adaptive: bool = False,
        scaling: Literal["z-score", "none"] = "z-score",
        **others: object,
    ) -> None:
        super().__init__(**others)
        self.experts, self.kernels, self.hidden, self.out = experts, kernels, hidden, out
        self.tower, self.shared, self.gate = tower, shared, gate
        self.temperature, self.expert, self.normalise = temperature, expert, normalise
        self.init, self.expert_dropout, self.tower_dropout = init, expert_dropout, tower_dropout
        self.horizon, self.loss, self.weight_decay = horizon, loss, weight_decay
        self.clip, self.plateau, self.adaptive = clip, plateau, adaptive
        self.scaling = scaling
        self._check()

    def _check(self) -> None:
        kinds.whole(experts=self.experts, out=self.out, horizon=self.horizon)
        for name in ("kernels", "hidden", "tower"):
            sizes = _sizes(getattr(self, name))
            for size in sizes:
                kinds.whole(**{name: size})
            if not sizes and name != "tower":
                raise ValueError(f"{name}=[]: at least one layer is needed")
        kinds_of = get_type_hints(Mixture.__init__)
        for name in ("gate", "expert", "init", "loss", "scaling"):
            kinds.check(name, getattr(self, name), kinds_of[name])
        kinds.share(expert_dropout=self.expert_dropout, tower_dropout=self.tower_dropout)
        if not 0 <= self.shared <= 1:
            raise ValueError(f"shared={self.shared}: a share from 0 to 1 is needed")
        for name in ("weight_decay", "clip"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name}={getattr(self, name)}: it must not be below 0")
        self._check_pairs()

    def _check_pairs(self) -> None:
        """Refuse settings that would do nothing, or fail, beside others."""
        softmax = self.gate in ("mixed", "learned")
        if self.gate == "hierarchical" and self.experts % 2:
            raise ValueError(f"experts={self.experts}: a hierarchical gate needs an even number")
        if self.temperature and not softmax:
            raise ValueError(f"temperature: a gate of the kind {self.gate!r} has none")
        if self.expert == "series" and len(_sizes(self.kernels)) > 1:
            raise ValueError(f"kernels={self.kernels}: series experts have one layer of kernels")
        plain = self.expert == "window" and softmax and not self.normalise
        if self.adaptive and not plain:
            raise ValueError("adaptive: only with window experts, a softmax gate, no batch norm")

    def _build(
        self,
        channels: int,
        generator: torch.Generator | None = None,
        experts: int | None = None,
    ) -> MMoE:
        return MMoE(
            channels=channels,
            window=self.window,
            experts=experts or self.experts,
            kernels=_sizes(self.kernels),
            hidden=_sizes(self.hidden),
            out=self.out,
            tower=_sizes(self.tower),
            shared=self.shared,
            gate=self.gate,
            temperature=self.temperature,
            expert=self.expert,
            normalise=self.normalise,
            expert_dropout=self.expert_dropout,
            tower_dropout=self.tower_dropout,
            init=self.init,
            generator=generator,
        )

    def _learner(
        self, network: MMoE, inputs: Tensor, generator: torch.Generator
    ) -> training.Learner:
        make = _Adaptive if self.adaptive else _Forecast
        return make(self, network, inputs, generator)

    def _scaler(self, rows: Floats) -> Scaling:
        return Scaling.none(rows) if self.scaling == "none" else Scaling.z_score(rows)

    def gate_weights(self, X: Floats) -> Floats:
        """Each expert's share in each channel's forecast: ``(t - unscored, c, e)``.

        The shares of a channel sum to 1. Raises as `decision_function` does.
        """
        inputs = self._windows(self._fitted_rows(X))
        return torch.cat(list(training.outputs(self.network.gate, inputs))).cpu().numpy()

    def _restored(self, state: dict[str, np.ndarray]) -> MMoE:
        experts = len(state["network.experts.layers.weights.0"])
        return self._build(len(self._scaling.scale), torch.Generator(), experts)


class _Forecast(training.Descent):
    """Learns to forecast, as the detector's settings say."""

    def __init__(
        self, made: Mixture, network: MMoE, inputs: Tensor, generator: torch.Generator
    ) -> None:
        self.made, self.inputs, self.generator = made, inputs, generator
        self.criterion: Callable[[Tensor, Tensor], Tensor] = LOSSES[made.loss]
        optimiser = training.adam(network, made.learning_rate, made.weight_decay)
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser, factor=0.8, patience=3)
        super().__init__(
            network,
            self._loss,
            optimiser,
            clip=made.clip or None,
            schedule=plateau if made.plateau else None,
        )

    def _loss(self, windows: Tensor, target: Tensor) -> Tensor:
        return self.criterion(self.network(windows, self.generator), target)


class _Adaptive(_Forecast):
    """Drops and splits experts after each epoch; the optimiser then starts afresh."""

    def end_epoch(self, loss: float) -> None:
        """Judge the experts by their mean share on the training windows."""
        from lmmoe.mmoe import adaptive

        super().end_epoch(loss)
        shares = adaptive.mean_shares(self.network, self.inputs)
        experts = adaptive.kept_and_split(shares)
        if experts == list(range(len(shares))):
            return
        state = adaptive.resized(self.network.state_dict(), experts, self.generator)
        network = self.made._build(self.inputs.shape[1], torch.Generator(), len(experts))
        network.load_state_dict(state)
        self.network = network.to(self.inputs.device)
        rate = self.optimiser.param_groups[0]["lr"]  # as the plateau left it
        self.optimiser = training.adam(self.network, rate, self.made.weight_decay)
        if self.schedule is not None:
            self.schedule.optimizer = self.optimiser


def _sizes(value: int | list[int]) -> list[int]:
    return list(value) if isinstance(value, list | tuple) else [value]
