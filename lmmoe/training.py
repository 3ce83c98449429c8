"""Fitting a forecaster to one series."""

import copy
import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from lmmoe import progress


@dataclass
class History:
    """What happened: mean squared errors (in squared z-scores) after each epoch."""

    training: list[float] = field(default_factory=list)  # running mean, dropout on
    held_out: list[float] = field(default_factory=list)  # empty without held-out rows
    best_epoch: int = 0  # the epoch whose weights were kept, counted from 1


def windows(rows: Tensor, window: int) -> Tensor:
    """All windows of ``(t, c)`` as a view ``(t - window + 1, c, window)``: nothing is copied."""
    return rows.unfold(0, window, 1)


def fit(
    network: nn.Module,
    rows: Tensor,
    held_out: Tensor | None,
    *,
    window: int,
    batch: int,
    epochs: int,
    learning_rate: float,
    patience: int,
    generator: torch.Generator,
    title: str,
) -> History:
    """Train to forecast each row of ``rows`` ``(t, c)`` from the ``window`` rows before it.

    Adam on the mean squared error, windows in random order. With ``held_out`` rows ``(t, c)``,
    which begin with ``window`` rows of context, training stops after ``patience`` epochs without a
    lower error on them, and the network keeps the weights of its best epoch. Raises `RuntimeError`
    where the loss is no longer a finite number.
    """
    fused = rows.device.type in ("cpu", "cuda")
    optimiser = torch.optim.Adam(network.parameters(), lr=learning_rate, fused=fused)
    history = History()
    best, weights = float("inf"), None
    with progress.bar(epochs, title, unit="epoch") as bar:
        for epoch in range(1, epochs + 1):
            network.train()
            loss = _epoch(network, rows, optimiser, window, batch, generator, f"epoch {epoch}")
            if not math.isfinite(loss):
                raise RuntimeError(f"training diverged in epoch {epoch}: lower learning_rate")
            history.training.append(loss)
            history.best_epoch = epoch if held_out is None else history.best_epoch
            if held_out is not None:
                error = float(squared_errors(network, held_out, window).mean())
                history.held_out.append(error)
                if error < best:
                    best, weights = error, copy.deepcopy(network.state_dict())
                    history.best_epoch = epoch
            bar.set_postfix(loss=f"{loss:.4g}")
            bar.update()
            if held_out is not None and epoch - history.best_epoch >= patience:
                break
    if weights is not None:
        network.load_state_dict(weights)
    network.eval()
    return history


def _epoch(
    network: nn.Module,
    rows: Tensor,
    optimiser: torch.optim.Optimizer,
    window: int,
    batch: int,
    generator: torch.Generator,
    title: str,
) -> float:
    """One pass over all windows; the mean loss of a window."""
    inputs, total = windows(rows[:-1], window), torch.zeros((), device=rows.device)
    order = torch.randperm(len(inputs), generator=generator, device=rows.device)
    steps = order.split(batch)
    with progress.bar(len(steps), title, unit="batch", inner=True) as bar:
        for number, chosen in enumerate(steps, start=1):
            forecast = network(inputs[chosen], generator)
            loss = (forecast - rows[chosen + window]).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            total += loss.detach() * len(chosen)
            if number % 50 == 0:  # reading a loss waits for the device
                bar.set_postfix(loss=f"{float(total) / (number * batch):.4g}", refresh=False)
            bar.update()
    return float(total) / len(inputs)


def forecasts(network: nn.Module, rows: Tensor, window: int, batch: int = 1024) -> Tensor:
    """Forecasts of rows ``window`` to the last of ``(t, c)``: ``(t - window, c)``."""
    network.eval()
    with torch.inference_mode():
        parts = windows(rows[:-1], window).split(batch)
        return torch.cat([network(part) for part in parts])


def squared_errors(network: nn.Module, rows: Tensor, window: int) -> Tensor:
    """Squared errors of the forecasts of ``(t, c)``: ``(t - window, c)``."""
    return (forecasts(network, rows, window) - rows[window:]).square_()
