"""Mixtures of experts that forecast a row: LightMMoE, CAD and HMMoE, one network; CAD as run."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Generator, Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from lmmoe import mmoe_fast, training
from lmmoe.detectors.base import Arrays, NotNegative, Part, Share, Whole
from lmmoe.detectors.neural import Forecaster
from lmmoe.detectors.scaling import Floats
from lmmoe.mmoe import Gate, MMoE, Settings, drawn
from lmmoe.training import Descent

Sizes = Whole | Annotated[list[Whole], Field(min_length=1)]  # units of one layer, or of several


class Mixture(Forecaster):
    """A multi-gate mixture of experts; the defaults are LightMMoE's (232,390 parameters at 38 c).

    Settings are those of the network (`lmmoe.mmoe.Settings`; a list of units where there are
    several layers) and of `Neural`. ``clip`` bounds the gradient's norm (0: no bound); ``plateau``
    lowers the learning rate by 0.8 after 3 epochs without a lower training loss; ``adaptive`` drops
    and splits experts after each epoch. Presets: ``LightMMoE`` and ``HMMoE`` as in the study's
    program; ``CAD`` as the study describes it, which is not what it ran (`CADAsRun`); ``CAD-FSE23``
    as its paper sets it for SMD (ESEC/FSE 2023, section 4).
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

    def __init__(self, **settings: object) -> None:
        super().__init__(**settings)
        # What would do nothing, or fail, beside other settings.
        softmax, series = self.gate in ("mixed", "learned"), self.expert == "series"
        if self.gate == "hierarchical" and self.experts % 2:
            raise ValueError(f"experts={self.experts}: a hierarchical gate needs an even number")
        if self.temperature and not softmax:
            raise ValueError(f"temperature: a gate of the kind {self.gate!r} has none")
        if series and len(_sizes(self.kernels)) > 1:
            raise ValueError(f"kernels={self.kernels}: series experts have one layer of kernels")
        if self.adaptive and (series or not softmax or self.normalise):
            raise ValueError("adaptive: only with window experts, a softmax gate, no batch norm")

    def _build(self, channels: int, experts: int | None = None) -> MMoE:
        given = {"channels": channels} | self.settings
        given = {field.name: given[field.name] for field in fields(Settings)}
        given |= {name: _sizes(given[name]) for name in ("kernels", "hidden", "tower")}
        return MMoE(**given | {"experts": experts or self.experts})

    def _criterion(self, forecast: Tensor, target: Tensor) -> Tensor:
        return getattr(nn.functional, f"{self.loss}_loss")(forecast, target)

    def _loss(self, network: MMoE, windows: Tensor, target: Tensor, dice: Generator) -> Tensor:
        return self._criterion(network(windows, dice), target)

    def _schedule(self, optimiser: Optimizer) -> Callable[[float], None] | None:
        return ReduceLROnPlateau(optimiser, factor=0.8, patience=3).step if self.plateau else None

    def _learner(self, network: MMoE, inputs: Tensor, generator: Generator) -> Descent:
        # With hand-written gradients where the settings are among those they know.
        if mmoe_fast.suits(network) and not (self.clip or self.plateau or self.adaptive):
            rates = {"learning_rate": self.learning_rate, "weight_decay": self.weight_decay}
            return mmoe_fast.Descent(network, self._criterion, generator, **rates)
        usual = super()._learner(network, inputs, generator)
        if self.adaptive:
            return Adaptive(**vars(usual), inputs=inputs, generator=generator)
        return usual

    def _forecasts(self, rows: Floats) -> Tensor:
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
            return training.outputs(self.network.gate, inputs).cpu().numpy()

    def _shape(self, state: Arrays) -> tuple[int, int]:  # experts may have come or gone
        return *super()._shape(state), len(state["network.experts.layers.weights.0"])


def _sizes(value: int | list[int]) -> list[int]:
    return list(value) if isinstance(value, list | tuple) else [value]


# --- experts that come and go: the study's future work ---

RARE, BUSY = 0.5, 2.0  # mean share, in units of 1 / experts: below, one leaves; above, it splits
MOST = 16  # experts; at least one is always left, since shares sum to 1
NOISE = 0.01  # deviation of the noise on a split expert, as a share of each weight's deviation


@dataclass(eq=False, kw_only=True)
class Adaptive(Descent):
    """Drops and splits experts after each epoch; the optimiser then starts afresh."""

    inputs: Tensor  # training windows, on which an expert's mean share is taken
    generator: Generator

    def end_epoch(self, loss: float) -> None:
        """Judge the experts."""
        super().end_epoch(loss)
        shares = training.outputs(self.network.gate, self.inputs).mean(dim=(0, 1))
        experts = kept_and_split(shares)
        if experts != list(range(len(shares))):
            resize(self.network, experts, self.generator)
            self.optimiser.state.clear()


def kept_and_split(shares: Tensor) -> list[int]:
    """Give the experts of the next epoch by number, given their mean shares ``(e,)``."""
    parts = [share * len(shares) for share in shares.tolist()]
    # Not ">=": shares that are no numbers keep all, and training says that it diverged.
    kept = [i for i, part in enumerate(parts) if not part < RARE]
    busy = [i for i in kept if parts[i] > BUSY]
    return kept + busy[: max(0, MOST - len(kept))]


def resize(network: MMoE, experts: list[int], generator: Generator) -> None:
    """Let a network go on with these of its experts; of one that is named twice, with a copy."""
    axes = {"experts.conv": 1, "gate.weights.own": 1, "gate.weights.common": 0, "gate.bias": 0}
    for name, weight in network.named_parameters():
        axis = axes.get(name, 0 if name.startswith("experts.") else None)
        if axis is None:
            continue
        each = weight.detach().unflatten(axis, (network.experts.count, -1)).movedim(axis, 0)
        chosen, deviation = each[experts], NOISE * weight.detach().std(correction=0)
        for number, expert in enumerate(experts):
            if expert in experts[:number]:
                place = chosen[number]
                noise = torch.randn(place.shape, generator=generator, device=place.device)
                place += deviation * noise
        weight.data, weight.grad = chosen.movedim(0, axis).flatten(axis, axis + 1), None
    network.experts.count = len(experts)


# --- what gave the study's CAD scores ---

EXPERTS, SIZES = 3, (64, 32, 32)  # the latter: of an expert's layers


class FlatMixture(nn.Module):
    """Three experts and one softmax gate, all over the flattened window; one linear output.

    An expert has layers of 64, 32 and 32 units with ReLU between them. The first layers and the
    gate are one product. Axes: b batch, c channels, w window, e experts, o expert output.
    """

    def __init__(self, channels: int, window: int) -> None:
        super().__init__()
        first, second, out = SIZES
        # Columns: the first layers of expert after expert, then the gate.
        self.first = nn.Linear(channels * window, EXPERTS * first + EXPERTS)
        self.second = drawn(EXPERTS, first, second, fan_in=first)
        self.second_bias = drawn(EXPERTS, 1, second, fan_in=first)
        self.third = drawn(EXPERTS, second, out, fan_in=second)
        self.third_bias = drawn(EXPERTS, 1, out, fan_in=second)
        self.out = nn.Linear(out, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map windows ``(b, c, w)`` to the forecast of the next row ``(b, c)``."""
        first, gate = self.first(x.flatten(1)).split([EXPERTS * SIZES[0], EXPERTS], dim=1)
        hidden = first.relu().unflatten(1, (EXPERTS, -1)).transpose(0, 1)  # (e, b, 64)
        hidden = torch.baddbmm(self.second_bias, hidden, self.second).relu()
        experts = torch.baddbmm(self.third_bias, hidden, self.third)  # (e, b, o)
        shares = gate.softmax(dim=1).T.unsqueeze(2)
        return self.out((shares * experts).sum(dim=0))


class CADAsRun(Forecaster):
    """The network that gave the study's CAD scores, which is not the CAD that it describes.

    `FlatMixture`, trained on ``examples`` windows drawn once. Where ``first_scores`` is "zero", the
    first ``window`` rows get the mean of all later scores, as in the study, which looks ahead.
    """

    name = "CAD-as-run"

    examples: Whole = 10_000
    most = property(lambda self: self.examples)

    def _build(self, channels: int) -> FlatMixture:
        return FlatMixture(channels, self.window)

    def _first_score(self, late: Floats) -> float:
        return late.min() if self.first_scores == "lowest" else late.mean()
