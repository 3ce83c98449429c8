"""Training that goes on from given weights, and training on a teacher's forecasts."""

from typing import Self

import numpy.typing as npt
import torch
from torch import Tensor

from lmmoe import training
from lmmoe.detectors.base import Floats
from lmmoe.detectors.mixture import Mixture
from lmmoe.detectors.scaling import Scaling
from lmmoe.mmoe import MMoE
from lmmoe.report.compression.pruning import State

SHARE = 0.5  # of the teacher in a student's target; our choice, not tuned


class _Given(Mixture):
    """Begins with weights that another network had; trains like any."""

    state: State

    def _build(
        self,
        channels: int,
        generator: torch.Generator | None = None,
        experts: int | None = None,
    ) -> MMoE:
        network = super()._build(channels, generator, experts)
        network.load_state_dict(self.state)
        return network


def continued(
    like: Mixture, settings: dict[str, object], state: State, rows: npt.ArrayLike, *, epochs: int
) -> Mixture:
    """Fit a detector on raw rows ``(t, c)`` that begins with the weights ``state``.

    ``like`` names the detector, LightMMoE or HMMoE, ``settings`` are the new one's, ``epochs`` how
    long it is trained (0: not at all). It can be saved like any other.

    Raises as `lmmoe.detectors.Detector.fit` does.
    """
    made = _Given(**(settings | {"epochs": epochs}))
    made.name, made.state = like.name, state
    return made.fit(rows)


class Student(Mixture):
    """A LightMMoE that learns from the truth and from a teacher's forecasts.

    Distillation (Hinton, Vinyals & Dean, 2015) for forecasts: the loss is (1 - s) times the squared
    error to the truth plus s times that to the teacher's forecast. Both have the gradient of the
    squared error to the target (1 - s) truth + s forecast, so that is the target. Rows before the
    teacher's first forecast have the truth alone. Training stops by the truth. Teacher and student
    must have been fitted on the same rows, so that they scale alike.
    """

    teacher: Mixture
    share = SHARE

    def taught_by(self, teacher: Mixture, share: float = SHARE) -> Self:
        """Name the teacher, and its share of the target, from 0 to 1."""
        if not 0 <= share <= 1:
            raise ValueError(f"share={share}: a share from 0 to 1 is needed")
        self.teacher, self.share = teacher, share
        return self

    def _fit(self, rows: Floats) -> None:
        self._scaling = Scaling.of(self.scaling, rows)
        network = self._build(rows.shape[1], torch.Generator().manual_seed(self.seed))
        generator = torch.Generator().manual_seed(self.seed)
        scaled, cut = self._scaled(rows), self._cut(len(rows))
        goals = torch.cat([scaled, self._goals(rows, scaled)], dim=1)  # (t, 2 c)
        inputs, _ = training.examples(scaled[:cut], self.plan)
        learner = _Taught(self._learner(network, inputs, generator))
        self.history = training.fit(
            learner,
            goals[:cut],
            goals[cut - self._context :] if cut < len(rows) else None,
            self.plan,
            generator=generator,
            title=f"{self.name}, taught",
        )
        self.network = learner.network

    def _goals(self, rows: Floats, scaled: Tensor) -> Tensor:
        """Give what each row ``(t, c)`` is to be forecast as, in scaled units."""
        goals = scaled.clone()
        forecasts = self.teacher._forecasts(rows).to(goals.device)
        goals[self.teacher.unscored :].lerp_(forecasts, self.share)
        return goals


class _Taught:
    """A learner whose rows hold values and, as further channels, what to forecast them as."""

    def __init__(self, inner: training.Learner) -> None:
        self.inner = inner

    @property
    def network(self) -> MMoE:
        """The student's."""
        return self.inner.network

    @network.setter
    def network(self, network: MMoE) -> None:
        self.inner.network = network

    def step(self, windows: Tensor, target: Tensor) -> Tensor:
        """Learn from windows ``(b, 2 c, w)`` and targets ``(b, 2 c)``: the goals in them."""
        channels = target.shape[1] // 2
        own = windows[:, :channels].contiguous()
        return self.inner.step(own, target[:, channels:].contiguous())

    def loss(self, windows: Tensor, target: Tensor) -> Tensor:
        """Mean loss by the truth."""
        channels = target.shape[1] // 2
        return self.inner.loss(windows[:, :channels].contiguous(), target[:, :channels])

    def end_epoch(self, loss: float) -> None:
        """As the student's own."""
        self.inner.end_epoch(loss)
