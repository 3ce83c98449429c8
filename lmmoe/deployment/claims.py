"""What the study prints about deployment, beside what was measured here.

A verdict is given by rule, and only where the measurement answers the claim: a bound in
milliseconds or rows a second, a size, a share of parameters. Seconds on unknown hardware, and the
memory of a graphics card, are shown and not judged.
"""

from collections.abc import Callable
from typing import NamedTuple

import pandas as pd

from lmmoe import paths
from lmmoe.claims.published import Claim, bounded, claims, printed_range
from lmmoe.compression.methods import AS_IS, DESIGN, DISTILLING, INTEGERS, LARGE, PRUNING
from lmmoe.deployment.kept import read
from lmmoe.deployment.steps import STEP

METHODS = "lightweighting methods"  # the scope of the study's table of them
KINDS = {
    "pruning": PRUNING,
    "distillation": DISTILLING,
    "quantisation": INTEGERS,
    "LightMMoE design": DESIGN,
}
METRICS = ("latency", "throughput", "model size", "memory", "deployment cost", "GPU memory")
COLUMNS = ("id", "document", "subject", "metric", "printed", "ours", "verdict", "how")
HOLDS, FAILS, UNTESTED = "holds", "fails", "cannot be tested here"


class Found(NamedTuple):
    """Ours in words, the verdict, and how it was come by."""

    ours: str
    verdict: str
    how: str


def beside(steps: pd.DataFrame, compressed: pd.DataFrame) -> pd.DataFrame:
    """Put each printed claim about deployment beside ours: a row per claim, `COLUMNS`.

    ``steps`` is `lmmoe.deployment.steps.table`, ``compressed`` `lmmoe.compression.table.table`.
    """
    lines = []
    for claim in claims():
        if claim.scope != METHODS and claim.metric not in METRICS:
            continue
        rule = _lightened if claim.scope == METHODS else RULES.get(claim.metric, _untested)
        found = rule(claim, steps, compressed)
        shown = f"{claim.value} {claim.unit}"
        lines.append([*claim[:3], claim.metric, shown, *found])
    return pd.DataFrame(lines, columns=list(COLUMNS))


def source(
    dataset: str, steps: pd.DataFrame, compressed: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """Give the measurements to judge by: these where they are on SMD, else the published ones.

    The last value says in words whose they are; without published ones nothing can be judged.
    """
    if dataset == "smd":
        return steps, compressed, "Held against this run."
    folder = paths.figures("smd")
    found = (
        read(folder / f"{name}.csv").reindex(columns=like.columns)
        for name, like in (("live_steps", steps), ("compression", compressed))
    )
    return *found, "The study is about SMD: held against the measurements in `figures/smd`."


def _untested(claim: Claim, steps: pd.DataFrame, compressed: pd.DataFrame) -> Found:
    how = "nothing here measures it"
    if claim.metric == "memory":
        how = "notebook 4 measures the memory of scoring, and judges this"
    return Found("", UNTESTED, how)


def _judged(claim: Claim, value: float) -> str:
    """Hold a number against a printed bound or number."""
    low, high = bounded(claim) or printed_range(claim)
    return HOLDS if low <= value <= high else FAILS


def _latency(claim: Claim, steps: pd.DataFrame, compressed: pd.DataFrame) -> Found:
    line = _live(steps, claim.subject)
    if line.empty:
        return Found("", UNTESTED, "not timed in this profile")
    middle, high = line.iloc[0][["p50_processor_ms", "p99_processor_ms"]]
    ours = f"{middle:.3g} ms, 99 % within {high:.3g}"
    if bounded(claim) is None:
        return Found(ours, UNTESTED, "the study's hardware is unknown: shown, not judged")
    return Found(
        ours, _judged(claim, high), "a whole live step, processor time, by the 99th percentile"
    )


def _throughput(claim: Claim, steps: pd.DataFrame, compressed: pd.DataFrame) -> Found:
    line = _bases(compressed, claim.subject)
    if line.empty:
        return Found("", UNTESTED, "not timed in this profile")
    rate = 1e6 / line["score_us"].mean()
    return Found(f"{rate:,.0f} rows/s", _judged(claim, rate), "a series scored on one thread")


def _size(claim: Claim, steps: pd.DataFrame, compressed: pd.DataFrame) -> Found:
    line, how = _bases(compressed, claim.subject)["bytes"], "what was learned, 4 bytes a number"
    if line.empty:
        line, how = _live(steps, claim.subject)["model_bytes"], "the saved model's file"
    if line.isna().all():
        return Found("", UNTESTED, "not measured in this profile")
    size = line.mean() / 1e6
    return Found(f"{size:.3g} MB", _judged(claim, size), how)


def _live(steps: pd.DataFrame, subject: str) -> pd.DataFrame:
    own = steps[(steps["detector"] == subject) & (steps["way"] == STEP)]
    return own[own["error"].isna()]


def _bases(compressed: pd.DataFrame, subject: str) -> pd.DataFrame:
    own = compressed[(compressed["method"] == subject) & (compressed["kind"] == AS_IS)]
    return own[own["error"].isna()]


RULES: dict[str, Callable[[Claim, pd.DataFrame, pd.DataFrame], Found]] = {
    "latency": _latency,
    "throughput": _throughput,
    "model size": _size,
}


def _lightened(claim: Claim, steps: pd.DataFrame, compressed: pd.DataFrame) -> Found:
    """Judge the study's table of lightweighting methods by our smallest model of that kind.

    Smallest in parameters, trained on if it was pruned; "performance kept" by the study's headline
    metric, point-adjusted F1, and average precision is told beside it, with what random scores
    keep.
    """
    shares = kept_shares(compressed)
    own = shares[(shares["base"] == LARGE) & (shares["kind"] == KINDS[claim.subject])]
    own = own[~own.index.str.contains("not trained")]
    if KINDS[claim.subject] == DESIGN:  # the claim is about LightMMoE, not what is lighter still
        own = own[own.index.str.startswith(claim.subject.split()[0])]
    if own.empty:
        return Found("", UNTESTED, "not measured in this profile")
    line = own.sort_values("parameters", kind="stable").iloc[0]
    how = f"{line.name}, of {LARGE}"
    if claim.metric == "parameter reduction":
        value = 100 * (1 - line["parameters"])
        ours = f"{value:.0f} % of parameters, {100 * (1 - line['bytes']):.0f} % of bytes"
    else:
        value = 100 * line["point_f1_pa"]
        chance = shares.loc[(shares["base"] == LARGE) & (shares.index == "random"), "point_f1_pa"]
        ours = (
            f"{value:.1f} % of Point F1 (PA), random scores {100 * chance.iloc[0]:.1f} %; "
            f"{100 * line['average_precision']:.1f} % of average precision"
        )
    low = float(claim.value.partition("-")[0]) - (0 if "-" in claim.value else claim.half_digit)
    return Found(ours, HOLDS if value >= low else FAILS, f"{how}; at least the printed share")


def kept_shares(compressed: pd.DataFrame) -> pd.DataFrame:
    """Divide each method's numbers by its base's, entity by entity, and average: by method.

    Columns ``base``, ``kind``, ``entities``; ``parameters``, ``bytes`` and metrics as shares of
    the base's, ``speed`` as a multiple. The controls are there once for each base. Metrics
    themselves are averaged first (a ratio of means): a mean of ratios would be ruled by the
    entity on which the base finds least.
    """
    good = compressed[compressed["error"].isna()]
    numbers = ["parameters", "bytes", *[name for name in good if name in _METRICS], "speed"]
    parts = []
    for base in dict.fromkeys(good.loc[good["kind"] == AS_IS, "base"]):
        own = good[(good["base"] == base) | (good["kind"] == "control")]
        means = own.groupby("method", sort=False)[numbers].mean()
        shares = means / means.loc[base]
        shares["speed"] = own.groupby("method", sort=False)["speed"].median()
        kinds = own.groupby("method", sort=False)["kind"].first()
        shares.insert(0, "base", base)
        shares.insert(1, "kind", kinds)
        shares.insert(2, "entities", own.groupby("method", sort=False)["entity"].nunique())
        parts.append(shares)
    none = pd.DataFrame(
        columns=["base", "kind", "entities", *numbers], index=pd.Index([], dtype=str)
    )
    return pd.concat(parts) if parts else none


_METRICS = (
    *("average_precision", "best_f1"),
    *("point_f1_pa", "event_f1_pa_log", "event_f1_pa_squeeze"),
)
