"""The smallest networks to train: one that repeats a row, and one number that is learned."""

import torch
from torch import nn

from lmmoe import training
from lmmoe.training import Descent, Plan

PLAN = {"window": 2, "epochs": 1, "batch": 4, "patience": 3}


def seeded(number=0):
    return torch.Generator().manual_seed(number)


class Last(nn.Module):
    """Forecasts the last row of the window."""

    def forward(self, x):
        return x[:, :, -1]


class Level(nn.Module):
    """Forecasts one learned number everywhere, and notes the windows it was shown in training."""

    def __init__(self):
        super().__init__()
        self.value = nn.Parameter(torch.zeros(()))
        self.seen = []

    def forward(self, x):
        if self.training:
            self.seen.append(x.detach().clone())
        return self.value + 0 * x[:, :, 0]


class Noted(Descent):
    """Notes each batch, whether it was in training mode, and the losses that end epochs."""

    def __init__(self, network, loss_of, optimiser, **given):
        super().__init__(network, loss_of, optimiser, **given)
        self.batches, self.ends, self.modes = [], [], []

    def step(self, windows, target):
        self.batches.append((windows.clone(), target.clone()))
        self.modes.append(self.network.training)
        return super().step(windows, target)

    def end_epoch(self, loss):
        self.ends.append(loss)
        super().end_epoch(loss)


def learner(network=None, learning_rate=0.1, make=Noted, **given):
    """Level with Adam on the squared error."""
    network = network or Level()

    def loss(windows, target):
        return (network(windows) - target).square().mean()

    return make(network, loss, training.adam(network, learning_rate), **given)


def fit(made, rows, held_out=None, *, generator=None, **changes):
    plan = Plan(**(PLAN | changes))
    return training.fit(made, rows, held_out, plan, generator=generator or seeded(), title="test")


def numbered(rows, channels=2):
    """Row i holds i in the first channel and i + 1000 in the next."""
    return torch.arange(float(rows))[:, None] + 1000 * torch.arange(float(channels))


def constant(value, rows=8):
    return torch.full((rows, 2), value)
