"""One network for many machines, each with its own scaling, and its use on a machine never seen."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lmmoe import training
from lmmoe.detectors.base import Floats
from lmmoe.detectors.mixture import Mixture
from lmmoe.detectors.scaling import Scaling
from lmmoe.errors import DataError
from lmmoe.mmoe import MMoE

MOST = 100_000  # windows an epoch, drawn anew for each; our choice: the time of four machines


class Shared(Mixture):
    """A LightMMoE that begins with a network given: `fit` learns a machine's scaling alone."""

    network: MMoE

    def _fit(self, rows: Floats) -> None:
        self._scaling = Scaling.of(self.scaling, rows)
        self.history = training.History()

    def _cut(self, rows: int) -> int:
        """The network has learned from none of these rows: all may set a threshold."""
        return 0


def train(
    machines: Sequence[npt.ArrayLike], *, seed: int = 0, most: int = MOST, **settings: object
) -> MMoE:
    """Train LightMMoE's network on raw training rows ``(t, c)`` of several machines together.

    Each machine's rows are scaled by themselves; no window holds rows of two. ``most`` bounds the
    windows of an epoch. ``settings`` are LightMMoE's; nothing stops training early.

    Raises `DataError` for no machine, machines of different channels or too few rows.
    """
    like = Mixture(seed=seed, **settings)
    rows = [np.asarray(each, dtype=np.float64) for each in machines]
    if not rows or len({each.shape[1:] for each in rows}) != 1:
        raise DataError("machines without rows, or with different channels: no network for all")
    if min(map(len, rows)) < like.min_rows:
        raise DataError(f"a machine with fewer rows than a window needs ({like.min_rows})")
    scaled = [torch.from_numpy(Scaling.z_score(each)(each).astype(np.float32)) for each in rows]
    generator = torch.Generator().manual_seed(seed)
    network = like._build(rows[0].shape[1], torch.Generator().manual_seed(seed))
    learner = like._learner(network, scaled[0][: like.window].T[None], generator)
    _learn(learner, scaled, like, most, generator)
    learner.network.eval()
    return learner.network


def _learn(
    learner: training.Learner,
    scaled: list[Tensor],
    like: Mixture,
    most: int,
    generator: torch.Generator,
) -> None:
    """Take ``like.epochs`` epochs of steps."""
    whole, starts = torch.cat(scaled), _starts([len(each) for each in scaled], like.min_rows)
    inputs = training.windows(whole, like.window)
    for _ in range(like.epochs):
        learner.network.train()
        order = starts[torch.randperm(len(starts), generator=generator)[:most]]
        total = torch.zeros(())
        for chosen in order.split(like.batch):
            goal = whole[chosen + like.unscored]
            total += learner.step(inputs[chosen], goal) * len(chosen)
        loss = float(total) / len(order)
        if not np.isfinite(loss):
            raise RuntimeError("training on all machines diverged: lower learning_rate")
        learner.end_epoch(loss)


def _starts(lengths: Sequence[int], size: int) -> Tensor:
    """First rows of all stretches of ``size`` rows that lie within one machine, end to end."""
    firsts = np.cumsum([0, *lengths[:-1]])
    parts = [np.arange(a, a + n - size + 1) for a, n in zip(firsts, lengths, strict=True)]
    return torch.from_numpy(np.concatenate(parts))


def shared(network: MMoE, rows: npt.ArrayLike, **settings: object) -> Shared:
    """Put a network to work on a machine: learn its scaling from raw rows ``(t, c)``."""
    made = Shared(**settings)
    made.network = network
    return made.fit(rows)
