"""Inside a fitted LightMMoE: what its gates do, whether experts specialise, what towers learn.

Axes: t rows, c channels, e experts, o expert output, n sampled rows.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lmmoe.data import Series
from lmmoe.detectors.mixture import Mixture
from lmmoe.report.ablation.forecast import last_value_error
from lmmoe.report.protocol import PROTOCOLS

Array = npt.NDArray[np.floating]
SAMPLE = 2000  # rows for similarities: enough for three digits
PROBES = 256  # rows for sensitivities, each of which costs a pass back for every channel


def entropy(shares: Array) -> Array:
    """How undecided gates are: ``(..., e)`` to ``(...)``, 0 for one expert, 1 for all alike.

    Shannon's entropy (Bell System Technical Journal, 1948) divided by log e; 0 for a lone expert.
    """
    experts = shares.shape[-1]
    if experts == 1:
        return np.zeros(shares.shape[:-1])
    bits = shares * np.log(np.where(shares > 0, shares, 1.0))
    return -bits.sum(axis=-1) / np.log(experts)


def cka(x: Array, y: Array) -> float:
    """Linear centred kernel alignment of two experts' outputs ``(n, o)``: 0 to 1.

    Kornblith et al. (ICML 2019, section 3): the squared norm of y'x over those of x'x and y'y,
    columns centred. It does not see rotations, which the layers behind could undo, and so asks
    whether two experts represent the same things; correlating output by output would ask whether
    they do so in the same places. NaN where one is constant.
    """
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    size = np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)
    return float(np.linalg.norm(y.T @ x) ** 2 / size) if size > 0 else np.nan


def similarities(outputs: Array) -> Array:
    """`cka` of every pair of experts, outputs ``(e, n, o)`` to ``(e, e)``."""
    return np.array([[cka(one, other) for other in outputs] for one in outputs])


def expert_outputs(model: Mixture, rows: Array, seed: int = 0) -> Array:
    """What each expert gives on windows of ``rows`` ``(t, c)``, a sample: ``(e, n, o)``."""
    with torch.inference_mode():
        return model.network.experts(_sampled(model, rows, SAMPLE, seed)).cpu().numpy()


def gate_weights(model: Mixture) -> Array:
    """The gates' learned numbers, own and common, in one row; none for a gate without."""
    weights = [weight.detach().cpu().numpy().ravel() for weight in model.network.gate.parameters()]
    return np.concatenate([*weights, np.zeros(0)])


def likeness(trained: Mixture, start: Mixture) -> float:
    """Correlation of gates' weights after training with those that training began with.

    ``start`` is the same network with the same seed and no training. NaN without weights.
    """
    after, before = gate_weights(trained), gate_weights(start)
    return float(np.corrcoef(after, before)[0, 1]) if len(after) > 1 else np.nan


def held_out(series: Series, model: Mixture) -> Array:
    """Rows that training left out under the protocol ``ours``, with the context of the first."""
    rows = PROTOCOLS["ours"].train(series)
    first = len(rows) - len(PROTOCOLS["ours"].calibrating(np.zeros(len(rows))))
    return rows[max(0, first - model.unscored) :]


def disturbed(model: Mixture, series: Series, seed: int = 0) -> dict[str, float]:
    """Forecast errors on held-out rows when a part does another part's work, nothing retrained.

    Relative to the last value's error there, as in `lmmoe.report.ablation.forecast_errors`.
    """
    rows = held_out(series, model)
    windows, target = model._windows(rows), model._scaled(rows)[model.unscored :]
    base = last_value_error(series) or np.nan  # nothing moves: undefined
    with torch.inference_mode():
        experts, shares = model.network.experts(windows), model.network.gate(windows)
        generator = torch.Generator().manual_seed(seed)
        errors = {
            name: float((forecast - target).square().mean()) / base
            for name, forecast in _disturbances(model, experts, shares, generator)
        }
    alone = {name: error for name, error in errors.items() if isinstance(name, int)}
    named = {name: error for name, error in errors.items() if not isinstance(name, int)}
    return named | {
        "the best expert alone": min(alone.values()),
        "the worst expert alone": max(alone.values()),
    }


def _disturbances(
    model: Mixture, experts: Tensor, shares: Tensor, generator: torch.Generator
) -> Iterator[tuple[str | int, Tensor]]:
    """Forecasts ``(t, c)`` of the network as it is, and disturbed; a number: an expert alone."""
    towers, outputs = model.network.towers, experts.transpose(0, 1)  # (t, e, o)
    mixed = torch.bmm(shares, outputs)
    order = torch.randperm(len(shares), generator=generator)
    yield "as trained", towers(mixed)
    frozen = shares.mean(dim=0, keepdim=True).expand_as(shares)
    yield "gates at their mean", towers(torch.bmm(frozen, outputs))
    yield "all experts alike", towers(torch.bmm(torch.full_like(shares, 1 / len(experts)), outputs))
    yield "gates of another moment", towers(torch.bmm(shares[order], outputs))
    yield "gates of the next channel", towers(torch.bmm(shares.roll(1, dims=1), outputs))
    yield "towers of the next channel", towers(mixed.roll(1, dims=1)).roll(-1, dims=1)
    for number in range(len(experts)):
        one = torch.zeros_like(shares)
        one[..., number] = 1
        yield number, towers(torch.bmm(one, outputs))


def listening(model: Mixture, rows: Array, *, through_gates: bool = True, seed: int = 0) -> Array:
    """How much each channel's forecast moves with each channel's past: ``(c, c)``, rows sum to 1.

    The size of the derivative, summed over the window and averaged over a sample of rows: forecast
    down, past across. Raw gradients as in Simonyan et al. (ICLR workshop 2014, section 3). Without
    ``through_gates`` the shares are held, so that only the experts pass the past on. A forecast
    that never moves has a row of zeros.
    """
    windows = _sampled(model, rows, PROBES, seed).clone().requires_grad_(True)  # noqa: FBT003
    network = model.network
    shares = network.gate(windows if through_gates else windows.detach())
    forecast = network.towers(torch.bmm(shares, network.experts(windows).transpose(0, 1)))
    lines = []
    for channel in range(forecast.shape[1]):
        total = forecast[:, channel].sum()
        (slope,) = torch.autograd.grad(total, windows, retain_graph=True)
        lines.append(slope.abs().sum(dim=2).mean(dim=0))
    moved = torch.stack(lines).cpu().double().numpy()
    return moved / np.maximum(moved.sum(axis=1, keepdims=True), np.finfo(float).tiny)


def tower_likeness(model: Mixture, rows: Array, seed: int = 0) -> Array:
    """How alike channels' towers read the mixture of experts: cosines ``(c, c)``, -1 to 1.

    Of the slopes of each forecast by its mixture's ``o`` numbers, averaged over a sample of rows:
    what a tower does to first order, whatever the order of its hidden units. NaN for a channel
    whose forecast never moves.
    """
    windows, network = _sampled(model, rows, SAMPLE, seed), model.network
    with torch.no_grad():
        mixed = torch.bmm(network.gate(windows), network.experts(windows).transpose(0, 1))
    mixed.requires_grad_()
    (slope,) = torch.autograd.grad(network.towers(mixed).sum(), mixed)  # a tower has its own part
    read = slope.mean(dim=0).cpu().double().numpy()
    size = np.linalg.norm(read, axis=1, keepdims=True)
    unit = np.divide(read, size, out=np.full_like(read, np.nan), where=size > 0)
    return unit @ unit.T


def moved(shares: Array, start: Array) -> float:
    """Which part of the weight on experts training has moved to others: 0 to 1.

    Half the sum of the differences between two shares ``(t, c, e)``, averaged: the total variation
    distance between the gates' outputs.
    """
    return float(np.abs(shares - start).sum(axis=-1).mean() / 2)


def channel_errors(model: Mixture, series: Series) -> Array:
    """Forecast error of each channel on held-out rows over the last value's there: ``(c,)``.

    NaN for a channel that does not move there.
    """
    rows = held_out(series, model)
    errors = model._score_channels(rows).mean(axis=0)
    changes = np.diff(model._scaled(rows).cpu().double().numpy(), axis=0) ** 2
    base = changes[model.unscored - 1 :].mean(axis=0)
    return np.divide(errors, base, out=np.full(len(base), np.nan), where=base > 0)


def at_events(shares: Array, labels: Array | None) -> Array:
    """How the mean share of each expert changes at labelled rows, ``(t, c, e)`` to ``(c, e)``.

    ``labels`` ``(t,)``; NaN without both kinds of rows.
    """
    if labels is None or len(np.unique(labels)) < 2:
        return np.full(shares.shape[1:], np.nan)
    return shares[labels == 1].mean(axis=0) - shares[labels == 0].mean(axis=0)


def _sampled(model: Mixture, rows: Array, most: int, seed: int) -> Tensor:
    """Windows ``(n, c, w)`` of some of the rows, at most so many, in time order."""
    windows = model._windows(rows)
    drawn = np.random.default_rng(seed).permutation(len(windows))[:most]
    return windows[torch.from_numpy(np.sort(drawn))]
