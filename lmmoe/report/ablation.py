"""The ablation: what each part of LightMMoE changes in detection, forecasting and cost.

``params/ablation*.yaml`` say which variants run where.
"""

import json
from contextlib import suppress
from functools import cache

import numpy as np
import pandas as pd

from lmmoe import paths
from lmmoe.report import experiment, store
from lmmoe.report.experiment import Run
from lmmoe.report.names import LABEL, detector_of
from lmmoe.report.profile import Profile, load
from lmmoe.report.statistics import holm
from lmmoe.report.tables import against, counts, entity_means

FULL, YARDSTICKS = "LightMMoE", "yardsticks"  # groups: the model itself, what is no variant
WHOLE, SMALL = "ablation", "ablation-quick"
OTHER_DATA = ("ablation-asd", "ablation-synthetic")  # the same variants on other data
# The variants that the study says something about.
CLAIMED = {
    *("1 expert", "2 experts", "8 experts", "mean (no gate)", "specific only (s = 0)"),
    *("shared only (s = 1)", "no towers", "extremely light"),
}
LAST = "last value"
FORECASTERS = (FULL, f"untrained {FULL}", LAST)  # their score is an error of a forecast
DETECTION, FORECAST = "average_precision", "forecast_error"
ENDS = ("difference", "low", "high")


def plans(report: Profile) -> list[Profile]:
    """Give the profiles of the ablation in a report, the main one first.

    That of SMD has the whole one, on the machines that are present, and the same variants on other
    data; any other report a small one on its first two entities, in its own folders.
    """
    here = report.present
    if not report.profile == report.dataset == "smd":
        given = report.model_dump(include={"profile", "dataset", "root", "reading", "vus_window"})
        return [load(f"params/{SMALL}.yaml").model_copy(update=given | {"entities": here[:2]})]
    files = [load(f"params/{name}.yaml") for name in (WHOLE, *OTHER_DATA)]
    main, *others = (plan.model_copy(update={"root": report.root}) for plan in files)
    passes = [
        each.model_copy(update={"entities": chosen})
        for each in main.passes
        if (chosen := [entity for entity in here if entity in (each.entities or here)])
    ]
    return [main.model_copy(update={"entities": here, "passes": passes}), *others]


def variants(plan: Profile) -> pd.DataFrame:
    """Take apart the names of a plan's detectors: a row per label, in the plan's order.

    Columns ``detector``, ``group``, ``variant``, ``settings`` (as in a row of runs), ``claimed``
    (`CLAIMED`), and those of ``published/variants.csv`` for the variant or its group. Raises
    `ValueError` for a label not of the form ``DETECTOR / GROUP / VARIANT``.
    """
    lines = {}
    for label, settings in plan.detectors.items():
        name, *parts = label.split(LABEL)
        if len(parts) not in (0, 2):
            raise ValueError(f"detectors.{label}: expected 'DETECTOR / GROUP / VARIANT'")
        group, variant = parts or (FULL if name == FULL else YARDSTICKS, name)
        given = json.dumps(settings, sort_keys=True)
        lines[label] = name, group, variant, given, variant in CLAIMED
    columns = ["detector", "group", "variant", "settings", "claimed"]
    table = pd.DataFrame.from_dict(lines, orient="index", columns=columns)
    words = store.published("variants", index_col="variant")
    of = table["variant"].where(table["variant"].isin(words.index), table["group"])
    return table.join(words.reindex(of).set_axis(table.index))


def forecast_errors(rows: pd.DataFrame, plan: Profile, *, publish: bool = False) -> pd.Series:
    """Forecast errors on held-out rows, relative to the last value's, by the key of a run.

    A forecaster's scores of the rows that the protocol ``ours`` holds out are its squared errors
    there, from ``figures/<plan>/forecast_errors.csv`` or the cache; no network is fitted. Relative
    as in Hyndman and Athanasopoulos, "Forecasting: Principles and Practice", 3rd edition, section
    5.2. With ``publish`` those of a plan with a file of its own are written.
    """
    wanted = rows["error"].isna() & (rows["protocol"] == "ours")
    wanted = rows[wanted & rows["detector"].map(detector_of).isin(FORECASTERS)]
    file = paths.figures(plan.profile) / "forecast_errors.csv"
    known = store.read(file, ("key", "forecast_error")).set_index("key")["forecast_error"]
    found = {key: known[key] for key in wanted["key"] if key in known}
    last = cache(lambda entity: experiment.result(Run(plan.load(entity), LAST)).calibration.mean())
    for line in wanted[~wanted["key"].isin(list(found))].itertuples():
        with suppress(OSError, ValueError):  # not in the cache
            scores = experiment.kept(paths.cache() / line.key).calibration
            found[line.key] = scores.mean() / (last(line.entity) or np.nan)
    errors = pd.Series(found, name="forecast_error", dtype=float).rename_axis("key")
    if publish and plan.profile in (WHOLE, *OTHER_DATA):
        store.write(errors.reset_index(), file)
    return errors


def by_variant(plan: Profile, rows: pd.DataFrame, errors: pd.Series) -> pd.DataFrame:
    """Make the main table: a row per variant, in the plan's order, yardsticks last.

    Means over the variant's own ``entities`` under the protocol ``ours``, seeds averaged first (of
    ``parameters``, the median). ``*_difference`` is the mean of variant - full model over the
    entities of both, ``*_low`` and ``*_high`` its 95 % bootstrap interval. ``errors``
    (`forecast_errors`) are averaged geometrically and compared by ``*_ratio``; ``train_ratio`` is
    the median of the training times' ratios. ``p`` (Wilcoxon) is of average precision; ``holm_p``
    is corrected within a family: the variants that are ``claimed``, and all others.
    """
    known = variants(plan)
    labels = known[["detector", "settings"]].reset_index(names="label")
    rows = rows.assign(detector=rows["detector"].map(detector_of)).merge(labels)
    rows["detector"] = rows["label"]
    ours = rows[rows["protocol"] == "ours"]
    behind = counts(rows, "ours")[["entities", "seeds"]]
    behind["parameters"] = ours.groupby("detector")["parameters"].median()
    seconds = ours.pivot_table("train_seconds", "entity", "detector", aggfunc="median")
    behind["train_ratio"] = seconds.div(seconds.get(FULL, np.nan), axis=0).median()
    values = entity_means(rows, "ours")[DETECTION].unstack("detector").dropna(axis=1, how="all")
    logs = ours.assign(value=np.log(ours["key"].map(errors).astype(float)))
    logs = logs.pivot_table(index="entity", columns="detector", values="value")
    ratios = np.exp(_compared(logs, FORECAST).drop(columns="p"))
    ratios = ratios.rename(columns={f"{FORECAST}_difference": f"{FORECAST}_ratio"})
    parts = [known, behind, _compared(values, DETECTION), ratios]
    table = pd.concat(parts, axis=1).reindex(known.index).drop(columns="detector")
    families = table[table["group"] != YARDSTICKS].groupby("claimed")
    table.insert(table.columns.get_loc("p") + 1, "holm_p", families["p"].transform(holm))
    return table.set_index("variant")


def _compared(values: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Each label's mean of ``values`` (entities, labels), and its difference to the full model."""
    found = against(values, [FULL]).droplevel("reference")[[*ENDS, "p"]].astype(float)
    names = {end: f"{metric}_{end}" for end in ENDS}
    return values.mean().to_frame(metric).join(found.rename(columns=names))


def by_dataset(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Differences in average precision by variant, three columns for each of `by_variant`'s."""
    first = next(iter(tables.values()))
    chosen = first.index[~first["group"].isin([FULL, YARDSTICKS])]
    found = pd.concat([each.filter(regex=f"^{DETECTION}_") for each in tables.values()], axis=1)
    names = [f"{name}_{end}" for name in tables for end in ENDS]
    return found.set_axis(names, axis=1).reindex(chosen)
