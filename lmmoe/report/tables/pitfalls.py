"""The table of the mistakes (`report.pitfalls`): what each gives to whom, and whom it moves."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from lmmoe.data.series import Floats
from lmmoe.report.pitfalls import EXPERIMENTS, MISTAKES, Measured, Mistake
from lmmoe.report.pitfalls.fleet import Outcome, Panel, resamples
from lmmoe.report.plots.style import METRIC_TITLES, title
from lmmoe.report.statistics import DIGITS, bootstrap_mean

COLUMNS = [
    *("number", "mistake", "group", "detector", "metric", "reported", "before", "after", "gain"),
    *("machines", "low", "high", "rank_before", "rank_after", "order_changes"),
]
TITLES = METRIC_TITLES | {
    "best_affiliation_f1": "affiliation F1",  # always at its best threshold here
    "f1": "F1",
    "composite_f1": "composite F1",
}
SHORT = {"MTSExample": "L2 norm", "random": "random"}  # where columns are narrow
AMAD_METRICS = ("average_precision", "best_f1", "point_f1_pa")


def table(measured: Measured) -> pd.DataFrame:
    """One row per mistake and detector, in the order of the mistakes' numbers.

    ``before`` and ``after`` are means over entities (seeds averaged first) of ``metric`` and of
    what is ``reported`` in its place; ``gain`` is their difference, ``low`` and ``high`` bound it
    with 95 % bootstrap confidence over entities (NaN with one). ``machines`` counts the entities on
    which all detectors of the mistake have all its numbers: the others are left out for all.
    ``rank_before`` and ``rank_after`` are places among these detectors (1 is best, equals share the
    better place). ``order_changes``: the share of resampled fleets in which at least two detectors
    stand the other way round after the mistake.
    """
    lines = [line for mistake in MISTAKES for line in _lines(mistake, measured.panels)]
    return pd.DataFrame(lines, columns=COLUMNS)


def _lines(mistake: Mistake, panels: dict[str, list[Panel]]) -> list[dict[str, object]]:
    found, common = _outcomes(mistake, panels)
    if not common.any():
        return []
    before, after = _both(found, common[None].astype(float))  # (d, 1)
    lines = pd.DataFrame(
        {
            "number": mistake.number,
            "mistake": mistake.title,
            "group": mistake.group,
            "detector": [name for name, _ in found],
            "metric": mistake.metric,
            "reported": mistake.reported,
            "before": before[:, 0],
            "after": after[:, 0],
            "gain": after[:, 0] - before[:, 0],
            "machines": int(common.sum()),
        }
    )
    for when, values in (("before", before), ("after", after)):
        ranks = pd.Series(values[:, 0].round(DIGITS)).rank(ascending=False, method="min")
        lines[f"rank_{when}"] = ranks
    drawn = _both(found, resamples(common))
    lines["low"], lines["high"] = _interval(drawn[1] - drawn[0], int(common.sum()))
    lines["order_changes"] = float(turned(*drawn).mean())
    return lines.to_dict("records")


def _outcomes(
    mistake: Mistake, panels: dict[str, list[Panel]]
) -> tuple[list[tuple[str, Outcome]], npt.NDArray[np.bool_]]:
    """The detectors with numbers, and the entities ``(n,)`` on which all of these have them."""
    made = [(panel.detector, mistake.combine(panel)) for panel in panels.get(mistake.title, [])]
    found = [(name, one) for name, one in made if one.known.any()]
    return found, np.logical_and.reduce([one.known for _, one in found] or [False])


def _both(found: list[tuple[str, Outcome]], counts: Floats) -> tuple[Floats, Floats]:
    """Both statistics of each detector, ``(d, r)`` each."""
    before = np.array([one.before(counts) for _, one in found])
    return before, np.array([one.after(counts) for _, one in found])


def _interval(gains: Floats, entities: int) -> tuple[Floats, Floats]:
    """Ends of the 95 % interval of each detector's resampled gains ``(d, r)``."""
    if entities < 2:
        return (np.full(len(gains), np.nan),) * 2
    low, high = np.nanquantile(gains, [0.025, 0.975], axis=1)
    return low, high


def turned(before: Floats, after: Floats) -> np.ndarray:
    """Tell of each resample whether two detectors (rows) change places, ``(r,)``; ties do not."""
    one, other = np.triu_indices(len(before), k=1)
    apart = np.round(before[one] - before[other], DIGITS)
    return (apart * np.round(after[one] - after[other], DIGITS) < 0).any(axis=0)


def sweeps(measured: Measured) -> pd.DataFrame:
    """Every number that was tried: ``mistake``, ``detector``, ``setting``, ``value`` (a mean).

    Means are over the entities that count for the gain of `table`, ``machines`` of them: those on
    which all detectors of the mistake have all its numbers.
    """
    lines = [line for one in EXPERIMENTS for line in _tried(one, measured.panels)]
    return pd.DataFrame(lines, columns=["mistake", "detector", "setting", "value", "machines"])


def _tried(mistake: Mistake, panels: dict[str, list[Panel]]) -> list[dict[str, object]]:
    found, common = _outcomes(mistake, panels)
    if not common.any():
        return []
    counts = common[None].astype(float)
    return [
        {
            "mistake": mistake.title,
            "detector": name,
            "setting": setting,
            "value": float(mean(counts)[0]),
            "machines": int(common.sum()),
        }
        for name, one in found
        for setting, mean in one.settings.items()
    ]


def of_mistake(tried: pd.DataFrame, mistake: str) -> pd.DataFrame:
    """The `sweeps` of one mistake for people: settings down, detectors across, three digits."""
    chosen = tried[tried["mistake"] == mistake]
    wide = chosen.pivot_table(index="setting", columns="detector", values="value", sort=False)
    return wide.map("{:.3f}".format, na_action="ignore").fillna("–").rename(columns=SHORT)


def readable(made: pd.DataFrame, group: str | None = None) -> pd.DataFrame:
    """The table for people: a mistake a row, a detector a column, "before → after" in the cells.

    ``group`` chooses one of `lmmoe.report.pitfalls.GROUPS`; *reorders* is ``order_changes``.
    """
    chosen = made if group is None else made[made["group"] == group]
    if chosen.empty:
        return pd.DataFrame()
    cells = chosen.assign(
        cell=[f"{a:.3f} → {b:.3f}" for a, b in zip(chosen["before"], chosen["after"], strict=True)],
        number_of=chosen["metric"].map(_metric),
    )
    renamed = cells["metric"] != cells["reported"]
    cells.loc[renamed, "number_of"] += " → " + cells.loc[renamed, "reported"].map(_metric)
    wide = cells.pivot_table(
        index=["mistake", "number_of"],
        columns="detector",
        values="cell",
        aggfunc="first",
        sort=False,
    )
    moved = chosen.groupby("mistake", sort=False)["order_changes"].first().map("{:.0%}".format)
    wide["reorders"] = moved.reindex(wide.index.get_level_values("mistake")).to_numpy()
    wide.columns.name = None
    wide.index.names = ["mistake", "number"]
    return wide.rename(columns=SHORT)


def _metric(name: str) -> str:
    return TITLES.get(name, name)


def amad(lines: pd.DataFrame) -> pd.DataFrame:
    """What AMAD's mistakes give: one row per variant, means over entities, seeds averaged first.

    Each of `AMAD_METRICS` with ``_low`` and ``_high``, the 95 % bootstrap interval of its
    difference to "as published" (``_gain``); random scores are the last row.
    """
    if not len(lines):
        return pd.DataFrame()
    means = lines.groupby(["variant", "entity"], sort=False)[list(AMAD_METRICS)].mean()
    rows = []
    for name, part in means.groupby("variant", sort=False):
        row: dict[str, object] = {"variant": name, "machines": len(part)}
        for metric in AMAD_METRICS:
            ours = part[metric].droplevel("variant")
            apart = ours - means.loc["as published", metric]
            found = bootstrap_mean(apart.round(DIGITS))
            row |= {metric: ours.mean(), f"{metric}_gain": found.mean}
            row |= {f"{metric}_low": found.low, f"{metric}_high": found.high}
        rows.append(row)
    return pd.DataFrame(rows).set_index("variant")


def floors(made: pd.DataFrame) -> pd.DataFrame:
    """What each metric gives to whom (`Measured.floors`), under the names that people read."""
    order = [name for name in TITLES if name in made.index]
    return made.loc[order].rename(index=TITLES, columns=title).round(3)
