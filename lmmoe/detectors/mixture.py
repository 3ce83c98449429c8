"""LightMMoE, CAD and HMMoE: one network with many settings that forecasts a row."""

from collections.abc import Callable
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from lmmoe import mmoe_fast, training
from lmmoe.detectors.base import NotNegative, Part, Share, Whole
from lmmoe.detectors.neural import Forecaster
from lmmoe.detectors.scaling import Floats
from lmmoe.mmoe import Gate, MMoE

LOSSES = {
    "mse": nn.functional.mse_loss,
    "l1": nn.functional.l1_loss,
    "huber": nn.functional.huber_loss,
}
Sizes = Whole | Annotated[list[Whole], Field(min_length=1)]  # units of one layer, or of several


class Mixture(Forecaster):
    """A multi-gate mixture of experts; the defaults are LightMMoE's (232,390 parameters at 38 c).

    Score of a row: the mean over channels of the squared error of its forecast, made ``horizon``
    rows before. The network is `lmmoe.mmoe.MMoE`: ``experts`` of ``kernels``, ``hidden`` and
    ``out`` units (a list where there are several layers), a ``tower`` for each channel (an empty
    list: none), ``shared`` the share of the common ``gate``. ``loss`` is what training lowers;
    ``clip`` bounds the gradient's norm (0: no bound); ``plateau`` lowers the learning rate by 0.8
    after 3 epochs without a lower training loss. ``adaptive`` drops and splits experts after each
    epoch. ``scaling="none"`` leaves the data as published. The rest: `Neural`.

    Presets, whose settings stand in `lmmoe.detectors.PRESETS`: ``LightMMoE`` and ``HMMoE`` as in
    the study's program (HMMoE: 3,081,743 parameters); ``CAD`` as the study describes it (465,182),
    which is not what it ran (`lmmoe.detectors.forecasters.CADAsRun`); ``CAD-FSE23`` as its paper
    sets it for SMD (1,106,598; "Beyond Sharing: Conflict-Aware Multivariate Time Series Anomaly
    Detection", ESEC/FSE 2023, section 4), on data as published.
    """

    name = "LightMMoE"

    experts: Whole = 4
    kernels: Sizes = 8
    hidden: Sizes = 128
    out: Whole = 64
    tower: Whole | list[Whole] = 16
    shared: Part = 0.7
    gate: Gate = "mixed"
    temperature: bool = False
    expert: Literal["window", "series"] = "window"
    normalise: bool = False
    init: Literal["torch", "xavier"] = "torch"
    expert_dropout: Share = 0.2
    tower_dropout: Share = 0.1
    horizon: Whole = 1
    loss: Literal["mse", "l1", "huber"] = "mse"
    weight_decay: NotNegative = 0.0
    clip: NotNegative = 0.0
    plateau: bool = False
    adaptive: bool = False
    scaling: Literal["z-score", "none"] = "z-score"

    def _check(self) -> None:
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
        """Take steps with hand-written gradients where the settings are among those they know."""
        if self.adaptive:
            return _Adaptive(self, network, inputs, generator)
        if self.clip or self.plateau or not mmoe_fast.suits(network):
            return _Forecast(self, network, inputs, generator)
        return mmoe_fast.Descent(
            network,
            LOSSES[self.loss],
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            generator=generator,
        )

    def _forecasts(self, rows: Floats) -> Tensor:
        """Forecast rows ``unscored`` to the last; by the fast way under the same condition."""
        if not mmoe_fast.suits(self.network):
            return super()._forecasts(rows)
        scaled = self._scaled(rows)
        return mmoe_fast.forecasts(self.network, scaled[: len(scaled) - self.horizon])

    def gate_weights(self, X: Floats) -> Floats:
        """Each expert's share in each channel's forecast: ``(t - unscored, c, e)``.

        The shares of a channel sum to 1. Raises as `decision_function` does.
        """
        inputs = self._windows(self._fitted_rows(X))
        with self._threads():
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
        super().end_epoch(loss)
        shares = mean_shares(self.network, self.inputs)
        experts = kept_and_split(shares)
        if experts == list(range(len(shares))):
            return
        state = resized(self.network.state_dict(), experts, self.generator)
        network = self.made._build(self.inputs.shape[1], torch.Generator(), len(experts))
        network.load_state_dict(state)
        self.network = network.to(self.inputs.device)
        rate = self.optimiser.param_groups[0]["lr"]  # as the plateau left it
        self.optimiser = training.adam(self.network, rate, self.made.weight_decay)
        if self.schedule is not None:
            self.schedule.optimizer = self.optimiser


# --- experts that come and go: the study's future work ---

RARE, BUSY = 0.5, 2.0  # mean share, in units of 1 / experts: below one leaves, above one splits
MOST = 16  # experts; at least one is always left, since shares sum to 1
NOISE = 0.01  # deviation of the noise on a split expert, as a share of each weight's deviation
# Weights in which the experts' kernels stand side by side on one axis.
JOINED = ("experts.conv", "experts.conv_bias")


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


def _axis(name: str) -> int | None:
    """Which axis of a weight is the experts'."""
    if name in ("experts.conv", "gate.weights.own"):
        return 1
    own = name.startswith("experts.") or name in ("gate.weights.common", "gate.bias")
    return 0 if own else None


def _sizes(value: int | list[int]) -> list[int]:
    return list(value) if isinstance(value, list | tuple) else [value]
