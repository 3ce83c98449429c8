"""Fitting a network to the windows of one series."""

import copy
import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from lmmoe import progress

Plan = Any  # what has the settings and attributes of `lmmoe.detectors.neural.Neural`
BATCH = 1024  # windows at a time where nothing is learned: the fastest of 256 to 4096 here


@dataclass
class History:
    """What happened: the loss after each epoch."""

    training: list[float] = field(default_factory=list)  # running mean, dropout on
    held_out: list[float] = field(default_factory=list)  # empty without held-out rows
    best_epoch: int = 0  # the epoch whose weights were kept, counted from 1


@dataclass(eq=False)
class Descent:
    """How a network learns: one loss, one optimiser; other ways have the same methods.

    ``loss(windows, target)`` gives the mean loss of windows ``(b, c, w)`` and their target rows
    ``(b, c)``; ``clip`` is the highest norm of its gradient, or 0.
    """

    network: nn.Module
    loss: Callable[[Tensor, Tensor], Tensor]
    optimiser: torch.optim.Optimizer
    _: KW_ONLY
    clip: float = 0.0
    schedule: Callable[[float], None] | None = None  # called after each epoch

    def step(self, windows: Tensor, target: Tensor) -> Tensor:
        """Learn from windows and their targets; give the loss before."""
        loss = self.loss(windows, target)
        self.optimiser.zero_grad(set_to_none=False)  # `flattened` ones are views
        loss.backward()
        if self.clip:
            nn.utils.clip_grad_norm_(self.optimiser.param_groups[0]["params"], self.clip)
        self.optimiser.step()
        return loss.detach()

    def end_epoch(self, loss: float) -> None:
        """Change what changes with the epochs, given the mean training loss of this one."""
        if self.schedule is not None:
            self.schedule(loss)


def adam(
    network: nn.Module,
    learning_rate: float,
    weight_decay: float = 0.0,
    *,
    decoupled: bool = False,
    flat: bool = False,
) -> torch.optim.Adam:
    """Adam (Kingma & Ba, ICLR 2015); ``decoupled``: AdamW; ``flat``: one kernel for all weights."""
    weights = [each for each in network.parameters() if each.requires_grad]
    weights = [flattened(weights)] if flat else weights
    # As torch guards these methods, they import its compiler: more than a second, and some 70 MB.
    usual = torch.optim.AdamW if decoupled else torch.optim.Adam
    guarded = ("add_param_group", "zero_grad", "step")
    plain = {name: inspect.unwrap(getattr(usual, name)) for name in guarded}
    plain["step"] = torch.no_grad()(plain["step"])
    fused = weights[0].device.type in ("cpu", "cuda")
    kind = type(usual.__name__, (usual,), plain)
    return kind(weights, lr=learning_rate, weight_decay=weight_decay, fused=fused)


def flattened(weights: Sequence[nn.Parameter]) -> nn.Parameter:
    """Lay weights in one tensor. They become views of it, and their gradients of its gradient."""
    flat = nn.Parameter(nn.utils.parameters_to_vector(weights).detach())
    nn.utils.vector_to_parameters(flat, weights)
    flat.grad = torch.zeros_like(flat)
    slopes = flat.grad.split([each.numel() for each in weights])
    for each, slope in zip(weights, slopes, strict=True):
        each.grad = slope.view_as(each)
    return flat


def examples(rows: Tensor, plan: Plan) -> tuple[Tensor, Tensor]:
    """Windows ``(n, c, w)`` and targets ``(n, c)`` of ``(t, c)``, as views."""
    inputs = rows[: len(rows) - plan.horizon].unfold(0, plan.window, plan.stride)
    return inputs, rows[plan.window + plan.horizon - 1 :][:: plan.stride]


def fit(
    learner: Descent, rows: Tensor, held_out: Tensor | None, plan: Plan, generator: torch.Generator
) -> History:
    """Train on the windows of ``rows`` ``(t, c)``, or ``plan.most`` of them, in random order.

    ``held_out`` rows ``(t, c)`` begin with the context of the first of them. Training stops after
    ``plan.patience`` epochs without a lower loss on them (or, as ``plan.watch`` says, in training),
    and keeps the weights of the best epoch; with nothing to watch, it runs all epochs and keeps the
    last. Raises `RuntimeError` where the loss is no longer a finite number.
    """
    history, best, device = History(), None, rows.device
    watched = history.training if plan.watch == "training" else history.held_out
    inputs, targets = examples(rows, plan)
    pool = torch.arange(len(inputs), device=device)
    if plan.most is not None and plan.most < len(pool):
        pool = torch.randperm(len(pool), generator=generator, device=device)[: plan.most]
    with progress.bar(plan.epochs, plan.name, unit="epoch") as bar:
        for epoch in range(1, plan.epochs + 1):
            learner.network.train()
            order = pool[torch.randperm(len(pool), generator=generator, device=device)]
            total = torch.zeros((), device=device)
            for chosen in order.split(plan.batch):
                total += learner.step(inputs[chosen], targets[chosen]) * len(chosen)
            loss = float(total) / len(order)
            if not math.isfinite(loss):
                raise RuntimeError(f"training diverged in epoch {epoch}: lower learning_rate")
            history.training.append(loss)
            if held_out is not None:
                history.held_out.append(mean_loss(learner, held_out, plan))
            if not watched or watched[-1] < min(watched[:-1], default=math.inf):
                history.best_epoch = epoch
                best = copy.deepcopy(learner.network)  # an epoch's end may change it
            learner.end_epoch(loss)
            bar.set_postfix(loss=f"{loss:.4g}")
            bar.update()
            if epoch - history.best_epoch >= plan.patience:
                break
    if plan.epochs and not history.best_epoch:
        raise RuntimeError("no held-out loss was a finite number: lower learning_rate")
    learner.network = (best or learner.network).eval()
    return history


@torch.inference_mode()
def mean_loss(learner: Descent, rows: Tensor, plan: Plan) -> float:
    """Mean loss over all windows of ``(t, c)``, nothing learned."""
    learner.network.eval()
    inputs, targets = examples(rows, plan)
    parts = zip(inputs.split(BATCH), targets.split(BATCH), strict=True)
    return sum(float(learner.loss(part, goal)) * len(part) for part, goal in parts) / len(inputs)


@torch.inference_mode()
def outputs(function: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    """What a function, such as a network that scores, gives on inputs ``(n, ...)``."""
    return torch.cat([function(part) for part in inputs.split(BATCH)])  # all would fill the memory


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch compute on ``count`` threads inside the block, then on as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
