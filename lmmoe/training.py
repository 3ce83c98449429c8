"""Fitting a network to the windows of one series."""

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from lmmoe import progress

BATCH = 1024  # windows at a time where nothing is learned: the fastest of 256 to 4096 here


@dataclass
class History:
    """What happened: the loss after each epoch."""

    training: list[float] = field(default_factory=list)  # running mean, dropout on
    held_out: list[float] = field(default_factory=list)  # empty without held-out rows
    best_epoch: int = 0  # the epoch whose weights were kept, counted from 1


@dataclass(frozen=True)
class Plan:
    """Which windows of the rows make an example, and how long to train on them."""

    window: int
    epochs: int
    batch: int
    patience: int  # epochs without a lower loss before training ends
    horizon: int = 1  # the target is so many rows after the window; 0: the window's last row
    stride: int = 1  # rows from one window to the next
    watch: Literal["held out", "training"] = "held out"  # whose loss patience is about
    most: int | None = None  # learn from so many windows, drawn once; None: from all


class Learner(Protocol):
    """A network with its losses and its way to take a step."""

    network: nn.Module

    def step(self, windows: Tensor, target: Tensor) -> Tensor:
        """Learn from windows ``(b, c, w)`` and their target rows ``(b, c)``; give the mean loss."""

    def loss(self, windows: Tensor, target: Tensor) -> Tensor:
        """Mean loss of windows that are not learned from."""

    def end_epoch(self, loss: float) -> None:
        """Change what changes with the epochs, given the mean training loss of this one."""


class Descent:
    """The usual learner: one loss, one optimiser; perhaps a clipped gradient and a schedule.

    ``loss_of(windows, target)`` gives the mean loss. ``clip`` is the highest norm of the gradient.
    ``schedule`` is stepped after each epoch, with the training loss where it looks for a plateau.
    """

    def __init__(
        self,
        network: nn.Module,
        loss_of: Callable[[Tensor, Tensor], Tensor],
        optimiser: torch.optim.Optimizer,
        *,
        clip: float | None = None,
        schedule: torch.optim.lr_scheduler.LRScheduler | None = None,
    ) -> None:
        self.network, self.loss, self.optimiser = network, loss_of, optimiser
        self.clip, self.schedule = clip, schedule

    def step(self, windows: Tensor, target: Tensor) -> Tensor:
        """Go one step down."""
        loss = self.loss(windows, target)
        self.optimiser.zero_grad()
        loss.backward()
        if self.clip is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.clip)
        self.optimiser.step()
        return loss.detach()

    def end_epoch(self, loss: float) -> None:
        """Step the schedule."""
        if isinstance(self.schedule, torch.optim.lr_scheduler.ReduceLROnPlateau):
            self.schedule.step(loss)
        elif self.schedule is not None:
            self.schedule.step()


class FlatDescent(Descent):
    """`Descent` with all weights in one tensor: a clip and a step are then one kernel each.

    The weights of ``network`` become views of that tensor. Those that need no gradient are left
    alone; all others must have one. ``optimiser`` is `torch.optim.Adam` or `torch.optim.AdamW`,
    which treat every number by itself; ``schedule`` makes a schedule for it.
    """

    def __init__(
        self,
        network: nn.Module,
        loss_of: Callable[[Tensor, Tensor], Tensor],
        optimiser: type[torch.optim.Adam],
        *,
        learning_rate: float,
        weight_decay: float,
        clip: float,
        schedule: Callable[[torch.optim.Optimizer], torch.optim.lr_scheduler.LRScheduler]
        | None = None,
    ) -> None:
        self.weights = [each for each in network.parameters() if each.requires_grad]
        joined = torch.cat([each.detach().flatten() for each in self.weights])
        parts = joined.split([each.numel() for each in self.weights])
        for each, part in zip(self.weights, parts, strict=True):
            each.data = part.view_as(each)
        self.flat = nn.Parameter(joined)
        made = optimiser(
            [self.flat],
            lr=learning_rate,
            weight_decay=weight_decay,
            fused=joined.device.type in ("cpu", "cuda"),
        )
        super().__init__(
            network, loss_of, made, clip=clip, schedule=None if schedule is None else schedule(made)
        )

    def step(self, windows: Tensor, target: Tensor) -> Tensor:
        """Go one step down."""
        loss = self.loss(windows, target)
        slopes = torch.autograd.grad(loss, self.weights)
        slope = torch.cat([each.reshape(-1) for each in slopes])
        # As torch's clip_grad_norm_, which asks every tensor for its norm.
        slope.mul_((self.clip / (torch.linalg.vector_norm(slope) + 1e-6)).clamp_(max=1))
        self.flat.grad = slope
        self.optimiser.step()
        return loss.detach()


def adam(network: nn.Module, learning_rate: float, weight_decay: float = 0.0) -> torch.optim.Adam:
    """Adam (Kingma & Ba, ICLR 2015), in one kernel where the device has it."""
    device = next(network.parameters()).device.type
    return torch.optim.Adam(
        network.parameters(),
        lr=learning_rate,
        weight_decay=weight_decay,
        fused=device in ("cpu", "cuda"),
    )


def windows(rows: Tensor, window: int) -> Tensor:
    """All windows of ``(t, c)`` as a view ``(t - window + 1, c, window)``: nothing is copied."""
    return rows.unfold(0, window, 1)


def examples(rows: Tensor, plan: Plan) -> tuple[Tensor, Tensor]:
    """Windows ``(n, c, w)`` and targets ``(n, c)`` of ``(t, c)``, as views."""
    last = len(rows) - plan.horizon
    inputs = windows(rows[:last], plan.window)[:: plan.stride]
    return inputs, rows[plan.window + plan.horizon - 1 :][:: plan.stride]


def fit(
    learner: Learner,
    rows: Tensor,
    held_out: Tensor | None,
    plan: Plan,
    *,
    generator: torch.Generator,
    title: str,
) -> History:
    """Train on the windows of ``rows`` ``(t, c)``, or ``plan.most`` of them, in random order.

    ``held_out`` rows ``(t, c)`` begin with the context of the first of them. Training stops after
    ``plan.patience`` epochs without a lower loss on them (or, as ``plan.watch`` says, in training),
    and the network keeps the weights of its best epoch; without held-out rows to watch, all epochs
    are run and the last weights kept. Raises `RuntimeError` where the loss is no longer a finite
    number.
    """
    history = History()
    watched = history.training if plan.watch == "training" else history.held_out
    watching = plan.watch == "training" or held_out is not None
    count, best = len(examples(rows, plan)[0]), None
    pool = torch.arange(count, device=rows.device)
    if plan.most is not None and plan.most < count:
        pool = torch.randperm(count, generator=generator, device=rows.device)[: plan.most]
    with progress.bar(plan.epochs, title, unit="epoch") as bar:
        for epoch in range(1, plan.epochs + 1):
            learner.network.train()
            loss = _epoch(learner, rows, plan, pool, generator, f"epoch {epoch}")
            if not math.isfinite(loss):
                raise RuntimeError(f"training diverged in epoch {epoch}: lower learning_rate")
            history.training.append(loss)
            if held_out is not None:
                history.held_out.append(mean_loss(learner, held_out, plan))
            if not watching or watched[-1] < min(watched[:-1], default=math.inf):
                history.best_epoch = epoch
                # Unwatched, too: an epoch's end may put another network in this one's place.
                best = copy.deepcopy(learner.network) if watching else learner.network
            learner.end_epoch(loss)
            bar.set_postfix(loss=f"{loss:.4g}")
            bar.update()
            if epoch - history.best_epoch >= plan.patience:
                break
    if plan.epochs and not history.best_epoch:
        raise RuntimeError("no held-out loss was a finite number: lower learning_rate")
    learner.network = best or learner.network
    learner.network.eval()
    return history


def _epoch(
    learner: Learner,
    rows: Tensor,
    plan: Plan,
    pool: Tensor,
    generator: torch.Generator,
    title: str,
) -> float:
    """One pass over the windows numbered in ``pool``; the mean loss of a window."""
    inputs, targets = examples(rows, plan)
    total = torch.zeros((), device=rows.device)
    order = pool[torch.randperm(len(pool), generator=generator, device=rows.device)]
    steps = order.split(plan.batch)
    with progress.bar(len(steps), title, unit="batch", inner=True) as bar:
        for number, chosen in enumerate(steps, start=1):
            total += learner.step(inputs[chosen], targets[chosen]) * len(chosen)
            if number % 50 == 0:  # reading a loss waits for the device
                bar.set_postfix(loss=f"{float(total) / (number * plan.batch):.4g}", refresh=False)
            bar.update()
    return float(total) / len(order)


def mean_loss(learner: Learner, rows: Tensor, plan: Plan) -> float:
    """Mean loss over all windows of ``(t, c)``, nothing learned."""
    learner.network.eval()
    inputs, targets = examples(rows, plan)
    with torch.inference_mode():
        parts = zip(inputs.split(BATCH), targets.split(BATCH), strict=True)
        total = sum(float(learner.loss(part, goal)) * len(part) for part, goal in parts)
    return total / len(inputs)


def outputs(network: nn.Module, inputs: Tensor, batch: int = BATCH) -> Iterator[Tensor]:
    """What the network gives on inputs ``(n, ...)``, part by part."""
    network.eval()
    with torch.inference_mode():
        for part in inputs.split(batch):
            yield network(part)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch compute on ``count`` threads inside the block, then on as many as before."""
    before = torch.get_num_threads()
    if before == count:
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
