"""The full model of every entity, and what is inside it in numbers."""

import numpy as np
import pandas as pd

from lmmoe import progress
from lmmoe.data import Series
from lmmoe.detectors.mixture import Mixture
from lmmoe.errors import DataError
from lmmoe.report import runs
from lmmoe.report.ablation import inside
from lmmoe.report.ablation.inside import Array
from lmmoe.report.ablation.variants import FULL
from lmmoe.report.params import Profile
from lmmoe.report.runs import Run


def fitted(series: Series, seed: int = 0) -> tuple[Mixture, Mixture]:
    """Give the full model of a series under the protocol ``ours``, and the start of its training.

    From the cache, or fitted now; raises `DataError` where a fit fails.
    """
    both = (Run(series, name, seed=seed) for name in (FULL, f"untrained {FULL}"))
    model, start = (runs.needed(run).detector for run in both)
    return model, start


def pictured(plan: Profile, facts: pd.DataFrame) -> Series:
    """Give the first entity of a plan with a model to look into (`over`); `DataError` without."""
    known = facts.dropna(how="all").index
    if known.empty:
        raise DataError("no model to look into: LightMMoE fits none of these entities")
    return plan.load(known[0])


def over(plan: Profile) -> pd.DataFrame:
    """`facts` of every entity of a plan, a row each; NaN where the model cannot be fitted."""
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
    """What is inside one fitted model in numbers, beside the ``start`` that it was trained from.

    Entropy and use are of the test half; ``gate_entropy_events`` of its labelled rows, the other
    two of the rest. Similarities are means over pairs of experts, ``own_channel`` the mean share
    of a channel's own past in `listening` (``_experts``: not through the gates), both on held-out
    rows. Then `disturbed`.
    """
    labels = np.zeros(len(series.test), dtype=int) if series.labels is None else series.labels
    normal, event = (labels[model.unscored :] == kind for kind in (0, 1))
    shares, began = model.gate_weights(series.test), start.gate_weights(series.test)
    undecided, before = (inside.entropy(one).mean(axis=1) for one in (shares, began))
    rows = inside.held_out(series, model)
    alike, alike_before = (
        _pairs(inside.similarities(inside.expert_outputs(one, rows))) for one in (model, start)
    )
    towers, towers_before = (_pairs(inside.tower_likeness(one, rows)) for one in (model, start))
    heard, without = (
        np.diag(inside.listening(model, rows, through_gates=gates)) for gates in (True, False)
    )
    return {
        "gate_weights_like_start": inside.likeness(model, start),
        "gate_weight_moved": inside.moved(shares, began),
        "gate_entropy": _mean(undecided[normal]),
        "gate_entropy_start": _mean(before[normal]),
        "gate_entropy_events": _mean(undecided[event]),
        "busiest_expert": float(shares.mean(axis=(0, 1)).max()),
        "expert_similarity": _mean(alike),
        "expert_similarity_start": _mean(alike_before),
        "tower_likeness": _mean(towers),
        "tower_likeness_start": _mean(towers_before),
        "own_channel": float(heard.mean()),
        "own_channel_experts": float(without.mean()),
    } | inside.disturbed(model, series)


def _pairs(matrix: Array) -> Array:
    """What is known above the diagonal."""
    values = matrix[np.triu_indices(len(matrix), 1)]
    return values[~np.isnan(values)]


def _mean(values: Array) -> float:
    return float(np.mean(values)) if len(values) else np.nan
