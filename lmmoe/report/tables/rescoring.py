"""What `lmmoe.report.rescoring` measured, as tables and in sentences."""

import numpy as np
import pandas as pd

from lmmoe.report.plots.style import METRIC_TITLES, title
from lmmoe.report.rescoring import CHANCE, EWMA, KINDS, METRICS, OWN, SCORINGS
from lmmoe.report.statistics import largest_block, paired

SHARED = "smoothed absolute errors"  # the scoring of "PCA windows EWMA", given to all
UNSMOOTHED = "absolute errors"
SMOOTHED = [f"smoothed {kind}" for kind in KINDS]
SUBJECT, BASE = "LightMMoE", "last value"


def by_entity(measured: pd.DataFrame, metric: str) -> pd.DataFrame:
    """One metric: entities down, (detector, scoring) across, without a gap.

    Detectors and entities are those of `report.statistics.largest_block`; a detector's settings are
    the first that it has in the table.
    """
    first = measured.groupby("detector")["settings"].transform("first")
    good = measured[measured["error"].isna() & (measured["settings"] == first)]
    table = good.pivot_table(index="entity", columns=["detector", "scoring"], values=metric)
    whole = table.notna().T.groupby(level="detector").all().T  # under every scoring
    block = largest_block(whole.where(whole, np.nan).astype(float))
    return table.loc[block.index, table.columns.isin(list(block.columns), level="detector")]


def summary(measured: pd.DataFrame, metric: str = METRICS[0]) -> pd.DataFrame:
    """Means over entities: detectors down, the best under its own scoring first; `SCORINGS` across.

    Empty where there is nothing to average.
    """
    table = by_entity(measured, metric)
    if table.empty:
        return pd.DataFrame(columns=list(SCORINGS))
    means = table.mean().unstack("scoring").reindex(columns=list(SCORINGS))
    return means.sort_values(OWN, ascending=False, kind="stable")


def summaries(measured: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Give the summaries of the metrics that are drawn; an adjusted one beside random scores."""
    made = {metric: summary(measured, metric) for metric in METRICS[:2]}
    return made if CHANCE in made[METRICS[1]].index else {METRICS[0]: made[METRICS[0]]}


def people(measured: pd.DataFrame, metric: str = METRICS[0]) -> pd.DataFrame:
    """Give the summary under the names that people read."""
    table = summary(measured, metric).rename(index=title).rename_axis("detector").round(3)
    return table.rename_axis(columns=METRIC_TITLES[metric])


def in_words(measured: pd.DataFrame) -> str:
    """Tell how far apart models are under their own scoring and under one for all, as Markdown."""
    entities = by_entity(measured, METRICS[0])
    models = _models(measured, METRICS[0])
    if len(models) < 2 or len(entities) < 2:
        return "Fewer than two models have errors on two entities: nothing to compare."
    lines = [
        f"Average precision, means of {len(entities)} entities, one seed. Under their own scoring "
        f"{len(models)} models reach {_range(models[OWN])}; under one for all, smoothed by s = "
        f"{EWMA:g} x + {1 - EWMA:g} s (which looks at no later row, and was singled out by trials "
        f"on SMD), the best and the worst are {_each_apart(models)} apart. With *{SHARED}*, the "
        f"scoring of PCA windows EWMA, they reach {_range(models[SHARED])}. In brackets: 95 % "
        "intervals.",
        "",
        *(_gain(entities, name) for name in (SUBJECT, BASE) if name in models.index),
        *_lead(entities),
        *_threshold(measured),
        *_price(measured),
    ]
    return "\n".join(lines)


def in_short(measured: pd.DataFrame) -> str:
    """Tell the same of further data in a sentence or two; empty where there is nothing to tell."""
    entities, models = by_entity(measured, METRICS[0]), _models(measured, METRICS[0])
    if len(models) < 2 or len(entities) < 2:
        return ""
    gain = ""
    if SUBJECT in models.index:
        values = entities[SUBJECT]
        gain = (
            f". {SUBJECT} goes from {values[OWN].mean():.3f} to {values[SHARED].mean():.3f}: "
            f"{_difference(values[SHARED], values[OWN])}"
        )
    return (
        f"{len(models)} models lie {_apart(models[OWN]):.3f} apart under their own scoring, "
        f"{_each_apart(models)} under one for all{gain}."
    )


def _each_apart(models: pd.DataFrame) -> str:
    told = [f"{_apart(models[name]):.3f} ({name})" for name in SMOOTHED]
    return f"{', '.join(told[:-1])} and {told[-1]}"


def _models(measured: pd.DataFrame, metric: str) -> pd.DataFrame:
    return summary(measured, metric).drop(index=CHANCE, errors="ignore")


def _apart(values: pd.Series) -> float:
    return values.max() - values.min()


def _range(values: pd.Series) -> str:
    low, high = values.idxmin(), values.idxmax()
    return (
        f"{values.min():.3f} ({title(low)}) to {values.max():.3f} ({title(high)}), "
        f"{_apart(values):.3f} apart"
    )


def _gain(entities: pd.DataFrame, name: str) -> str:
    values = entities[name]
    own, shared = values[OWN].mean(), values[SHARED].mean()
    what = _difference(values[SHARED], values[OWN])
    return f"- {title(name)} goes from {own:.3f} to {shared:.3f}: {what}."


def _lead(entities: pd.DataFrame) -> list[str]:
    """What the subject adds to the simplest forecast, under its scoring and under each smoothed."""
    if not {SUBJECT, BASE} <= set(entities.columns.unique("detector")):
        return []
    own, *others = (
        _difference(entities[SUBJECT, scoring], entities[BASE, scoring])
        for scoring in (OWN, *SMOOTHED)
    )
    told = "; ".join(f"{what} ({name})" for name, what in zip(SMOOTHED, others, strict=True))
    return [f"- What {SUBJECT} adds to repeating the last value: {own} before; after, {told}."]


def _difference(first: pd.Series, second: pd.Series) -> str:
    found = paired(first, second)
    return (
        f"{found.difference:+.3f} [{found.low:+.3f}, {found.high:+.3f}], better on "
        f"{found.wins} of {found.pairs}"
    )


def _threshold(measured: pd.DataFrame) -> list[str]:
    """What the one scoring does at a threshold without labels."""
    models = _models(measured, METRICS[2])
    if models.empty:
        return []
    changes = models[SHARED] - models[OWN]
    return [
        f"- At a threshold that no label touched ({METRIC_TITLES[METRICS[2]]}) *{SHARED}* gains "
        f"for {(changes > 0).sum()} of {len(changes)} models ({_span(changes)})."
    ]


def _price(measured: pd.DataFrame) -> list[str]:
    """What the smoothing alone does where every event counts once, beside random scores."""
    table, metric = summary(measured, METRICS[1]), METRIC_TITLES[METRICS[1]]
    if CHANCE not in table.index:
        return []
    models = table.drop(index=CHANCE)
    changes = models[SHARED] - models[UNSMOOTHED]
    return [
        f"- The price: a smoothed score outlasts its event. Where every event counts once "
        f"({metric}) smoothing the absolute errors loses for {(changes < 0).sum()} of "
        f"{len(changes)} models ({_span(changes)}), and *{SHARED}* leaves them "
        f"{_apart(models[SHARED]):.3f} apart, {_apart(models[OWN]):.3f} before. Random scores "
        f"reach {table.loc[CHANCE, SHARED]:.3f}."
    ]


def _span(changes: pd.Series) -> str:
    return f"{changes.min():+.3f} to {changes.max():+.3f}"
