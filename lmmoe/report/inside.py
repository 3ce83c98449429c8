"""Inside a fitted LightMMoE: what its gates do, whether experts specialise, what towers read.

Axes: t rows, c channels, e experts, o expert output, n sampled rows.
"""

from contextlib import suppress

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from lmmoe import progress
from lmmoe.data import Series
from lmmoe.detectors.mixture import Mixture
from lmmoe.errors import DataError
from lmmoe.report import ablation, experiment
from lmmoe.report.experiment import PROTOCOLS, Run
from lmmoe.report.profile import Profile

Array = npt.NDArray[np.floating]
SAMPLE = 2000  # rows for similarities: enough for three digits


def fitted(series: Series, seed: int = 0) -> tuple[Mixture, Mixture]:
    """Give the full model of a series under the protocol ``ours``, and the start of its training.

    From the cache, or fitted now; raises `DataError` where a fit fails.
    """
    names = (ablation.FULL, f"untrained {ablation.FULL}")
    model, start = (experiment.needed(Run(series, name, seed=seed)).detector for name in names)
    return model, start


def table(plan: Profile) -> pd.DataFrame:
    """Give `facts` of every entity of a plan, a row each; NaN where no model can be fitted."""
    lines: dict[str, dict[str, float]] = {}
    with progress.bar(len(plan.present), "inside", unit="entity") as bar:
        for series in map(plan.load, plan.present):
            lines[series.entity] = {}
            with suppress(DataError):  # the table of runs says why
                lines[series.entity] = facts(*fitted(series), series)
            bar.update()
    made = pd.DataFrame.from_dict(lines, orient="index").reindex(list(lines))
    return made.rename_axis("entity")


def facts(model: Mixture, start: Mixture, series: Series) -> dict[str, float]:
    """Describe one fitted model in numbers, and the ``start`` that it was trained from.

    ``gate_weight_moved`` is the part of the weight on experts that has moved to others (total
    variation distance) on the test half. ``gate_entropy`` is of its normal rows; the similarities
    are means over pairs, on held-out rows. Then `disturbed`.
    """
    pair, rows = (model, start), held_out(series, model)
    shares = [one.gate_weights(series.test) for one in pair]
    found = {"gate_weight_moved": float(np.abs(shares[0] - shares[1]).sum(axis=-1).mean() / 2)}
    normal = slice(None) if series.labels is None else series.labels[model.unscored :] == 0
    for one, share, end in zip(pair, shares, ("", "_start"), strict=True):
        found[f"gate_entropy{end}"] = float(entropy(share).mean(axis=1)[normal].mean())
        for name, matrix in (
            ("expert_similarity", expert_similarity(one, rows)),
            ("tower_likeness", tower_similarity(one, rows)),
        ):
            above = pd.Series(matrix[np.triu_indices(len(matrix), 1)])
            found[f"{name}{end}"] = above.mean()  # of the pairs that are known
    return found | disturbed(model, series)


def entropy(shares: Array) -> Array:
    """How undecided gates are: ``(..., e)`` to ``(...)``, 0 for one expert, 1 for all alike.

    Shannon's entropy (Bell System Technical Journal, 1948) divided by log e; 0 for a lone expert.
    """
    bits = shares * np.log(np.where(shares > 0, shares, 1.0))
    return -bits.sum(axis=-1) / np.log(max(shares.shape[-1], 2))


def cka(x: Array, y: Array) -> float:
    """Linear centred kernel alignment of two experts' outputs ``(n, o)``: 0 to 1.

    Kornblith et al. (ICML 2019, section 3): the squared norm of y'x over those of x'x and y'y,
    columns centred. It does not see rotations, which the layers behind could undo: it asks whether
    two experts represent the same things, not in the same places. NaN where one is constant.
    """
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    size = np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)
    return float(np.linalg.norm(y.T @ x) ** 2 / size) if size > 0 else np.nan


def expert_similarity(model: Mixture, rows: Array) -> Array:
    """`cka` of every pair of experts on a sample of ``rows`` ``(t, c)``: ``(e, e)``."""
    with torch.inference_mode():
        outputs = model.network.experts(_sampled(model, rows)).cpu().numpy()  # (e, n, o)
    return np.array([[cka(one, other) for other in outputs] for one in outputs])


def tower_similarity(model: Mixture, rows: Array) -> Array:
    """How alike channels' towers read the mixture of experts: cosines ``(c, c)``, -1 to 1.

    Of the slopes of each forecast by its mixture's ``o`` numbers, averaged over a sample of rows:
    what a tower does to first order, whatever the order of its hidden units. NaN for a channel
    whose forecast never moves.
    """
    windows, network = _sampled(model, rows), model.network
    with torch.no_grad():
        mixed = torch.bmm(network.gate(windows), network.experts(windows).transpose(0, 1))
    mixed.requires_grad_()
    (slope,) = torch.autograd.grad(network.towers(mixed).sum(), mixed)  # a tower has its own part
    read = slope.mean(dim=0).cpu().double().numpy()
    size = np.linalg.norm(read, axis=1, keepdims=True)
    unit = np.divide(read, size, out=np.full_like(read, np.nan), where=size > 0)
    return unit @ unit.T


def disturbed(model: Mixture, series: Series) -> dict[str, float]:
    """Forecast errors on held-out rows when a part does another part's work, nothing retrained.

    Relative to the last value's error there, as `lmmoe.report.ablation.forecast_errors`.
    """
    rows, network = held_out(series, model), model.network
    windows, target = model._windows(rows), model._scaled(rows)[model.unscored :]
    with torch.inference_mode():
        outputs, shares = network.experts(windows).transpose(0, 1), network.gate(windows)
        order = torch.randperm(len(shares), generator=torch.Generator().manual_seed(0))
        gates = {
            "as trained": shares,
            "gates at their mean": shares.mean(dim=0, keepdim=True).expand_as(shares),
            "all experts alike": torch.full_like(shares, 1 / shares.shape[-1]),
            "gates of another moment": shares[order],
            "gates of the next channel": shares.roll(1, dims=1),
        }
        lone = dict(enumerate(torch.eye(shares.shape[-1], device=shares.device)))
        gates |= {number: one.expand_as(shares) for number, one in lone.items()}
        forecasts = {n: network.towers(torch.bmm(each, outputs)) for n, each in gates.items()}
        mixed = torch.bmm(shares, outputs).roll(1, dims=1)
        forecasts["towers of the next channel"] = network.towers(mixed).roll(-1, dims=1)
        errors = {n: float((each - target).square().mean()) for n, each in forecasts.items()}
    base = ablation.last_value_error(series)
    found = {name: error / base for name, error in errors.items()}
    alone = [found.pop(number) for number in lone]
    return found | {"the best expert alone": min(alone), "the worst expert alone": max(alone)}


def held_out(series: Series, model: Mixture) -> Array:
    """Rows that training left out under the protocol ``ours``, with the context of the first."""
    rows = PROTOCOLS["ours"].train(series)
    first = len(rows) - len(PROTOCOLS["ours"].calibrating(rows))
    return rows[max(0, first - model.unscored) :]


def _sampled(model: Mixture, rows: Array) -> Tensor:
    """Windows ``(n, c, w)`` of some of the rows, at most `SAMPLE`, in time order."""
    windows = model._windows(rows)
    drawn = np.random.default_rng(0).permutation(len(windows))[:SAMPLE]
    return windows[torch.from_numpy(np.sort(drawn))]
