"""Inside a fitted LightMMoE: what its gates do, whether experts specialise, what towers read.

Axes: t rows, c channels, e experts, o expert output, n sampled rows.
"""

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector

from lmmoe import progress
from lmmoe.data import Series
from lmmoe.detectors.mixture import Mixture
from lmmoe.errors import DataError
from lmmoe.report import ablation, experiment
from lmmoe.report.experiment import PROTOCOLS, Run
from lmmoe.report.profile import Profile

Array = npt.NDArray[np.floating]
SAMPLE = 2000  # rows for similarities: enough for three digits
PROBES = 256  # rows for sensitivities, each of which costs a pass back for every channel


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
        for entity in plan.present:
            bar.set_postfix_str(entity, refresh=False)
            series = plan.load(entity)
            try:
                lines[entity] = facts(*fitted(series), series)
            except DataError:  # the table of runs says why
                lines[entity] = {}
            bar.update()
    made = pd.DataFrame.from_dict(lines, orient="index").reindex(list(lines))
    return made.rename_axis("entity")


def facts(model: Mixture, start: Mixture, series: Series) -> dict[str, float]:
    """Describe one fitted model in numbers, and the ``start`` that it was trained from.

    ``gate_weights_like_start`` correlates the gates' weights, ``gate_weight_moved`` is the part of
    the weight on experts that has moved to others (total variation distance). Entropy and use are
    of the test half; ``gate_entropy_events`` of its labelled rows, the other two of the rest. The
    similarities are means over pairs, ``own_channel`` the mean share of a channel's own past in
    `listening` (``_experts``: not through the gates), on held-out rows. Then `disturbed`.
    """
    labels = np.zeros(len(series.test), dtype=int) if series.labels is None else series.labels
    labels, rows = labels[model.unscored :], held_out(series, model)
    shares, began = (one.gate_weights(series.test) for one in (model, start))
    weights = [parameters_to_vector(one.network.gate.parameters()) for one in (model, start)]
    undecided, before = (pd.Series(entropy(one).mean(axis=1)) for one in (shares, began))
    heard, without = (np.diag(listening(model, rows, through_gates=gates)) for gates in (1, 0))
    return {
        "gate_weights_like_start": float(np.corrcoef(*(w.detach().cpu() for w in weights))[0, 1]),
        "gate_weight_moved": float(np.abs(shares - began).sum(axis=-1).mean() / 2),
        "gate_entropy": undecided[labels == 0].mean(),
        "gate_entropy_start": before[labels == 0].mean(),
        "gate_entropy_events": undecided[labels == 1].mean(),
        "busiest_expert": float(shares.mean(axis=(0, 1)).max()),
        "expert_similarity": _mean_of_pairs(expert_similarity(model, rows)),
        "expert_similarity_start": _mean_of_pairs(expert_similarity(start, rows)),
        "tower_likeness": _mean_of_pairs(tower_similarity(model, rows)),
        "tower_likeness_start": _mean_of_pairs(tower_similarity(start, rows)),
        "own_channel": float(heard.mean()),
        "own_channel_experts": float(without.mean()),
    } | disturbed(model, series)


def entropy(shares: Array) -> Array:
    """How undecided gates are: ``(..., e)`` to ``(...)``, 0 for one expert, 1 for all alike.

    Shannon's entropy (Bell System Technical Journal, 1948) divided by log e; 0 for a lone expert.
    """
    bits = shares * np.log(np.where(shares > 0, shares, 1.0))
    return -bits.sum(axis=-1) / np.log(max(shares.shape[-1], 2))


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


def expert_similarity(model: Mixture, rows: Array) -> Array:
    """`cka` of every pair of experts on a sample of ``rows`` ``(t, c)``: ``(e, e)``."""
    with torch.inference_mode():
        outputs = model.network.experts(_sampled(model, rows, SAMPLE)).cpu().numpy()  # (e, n, o)
    return np.array([[cka(one, other) for other in outputs] for one in outputs])


def tower_similarity(model: Mixture, rows: Array) -> Array:
    """How alike channels' towers read the mixture of experts: cosines ``(c, c)``, -1 to 1.

    Of the slopes of each forecast by its mixture's ``o`` numbers, averaged over a sample of rows:
    what a tower does to first order, whatever the order of its hidden units. NaN for a channel
    whose forecast never moves.
    """
    windows, network = _sampled(model, rows, SAMPLE), model.network
    with torch.no_grad():
        mixed = torch.bmm(network.gate(windows), network.experts(windows).transpose(0, 1))
    mixed.requires_grad_()
    (slope,) = torch.autograd.grad(network.towers(mixed).sum(), mixed)  # a tower has its own part
    read = slope.mean(dim=0).cpu().double().numpy()
    size = np.linalg.norm(read, axis=1, keepdims=True)
    unit = np.divide(read, size, out=np.full_like(read, np.nan), where=size > 0)
    return unit @ unit.T


def listening(model: Mixture, rows: Array, *, through_gates: bool = True) -> Array:
    """How much each channel's forecast moves with each channel's past: ``(c, c)``, rows sum to 1.

    The size of the derivative, summed over the window and averaged over a sample of rows: forecast
    down, past across. Raw gradients as in Simonyan et al. (ICLR workshop 2014, section 3). Without
    ``through_gates`` the shares are held, so that only the experts pass the past on. A forecast
    that never moves has a row of zeros.
    """
    windows, network = _sampled(model, rows, PROBES).clone().requires_grad_(), model.network
    shares = network.gate(windows if through_gates else windows.detach())
    forecast = network.towers(torch.bmm(shares, network.experts(windows).transpose(0, 1)))
    lines = []
    for total in forecast.sum(dim=0):
        (slope,) = torch.autograd.grad(total, windows, retain_graph=True)
        lines.append(slope.abs().sum(dim=2).mean(dim=0))
    moved = torch.stack(lines).cpu().double().numpy()
    return moved / np.maximum(moved.sum(axis=1, keepdims=True), np.finfo(float).tiny)


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
        lone = torch.eye(shares.shape[-1], device=shares.device)
        mixtures = {name: torch.bmm(each, outputs) for name, each in gates.items()}
        mixtures |= {n: torch.bmm(one.expand_as(shares), outputs) for n, one in enumerate(lone)}
        errors = {n: (network.towers(each) - target).square() for n, each in mixtures.items()}
        shifted = network.towers(mixtures["as trained"].roll(1, dims=1)).roll(-1, dims=1)
        errors["towers of the next channel"] = (shifted - target).square()
    base = ablation.last_value_error(series)
    found = {name: float(each.mean()) / base for name, each in errors.items()}
    alone = [found.pop(number) for number in range(len(lone))]
    return found | {"the best expert alone": min(alone), "the worst expert alone": max(alone)}


def held_out(series: Series, model: Mixture) -> Array:
    """Rows that training left out under the protocol ``ours``, with the context of the first."""
    rows = PROTOCOLS["ours"].train(series)
    first = len(rows) - len(PROTOCOLS["ours"].calibrating(np.zeros(len(rows))))
    return rows[max(0, first - model.unscored) :]


def _sampled(model: Mixture, rows: Array, most: int) -> Tensor:
    """Windows ``(n, c, w)`` of some of the rows, at most so many, in time order."""
    windows = model._windows(rows)
    drawn = np.random.default_rng(0).permutation(len(windows))[:most]
    return windows[torch.from_numpy(np.sort(drawn))]


def _mean_of_pairs(matrix: Array) -> float:
    """Mean of what is known above the diagonal."""
    return pd.Series(matrix[np.triu_indices(len(matrix), 1)]).mean()
