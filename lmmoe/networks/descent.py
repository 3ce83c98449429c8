"""Gradient descent on networks so small that handling their weights costs more than arithmetic."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lmmoe import training


class FlatDescent(training.Descent):
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
