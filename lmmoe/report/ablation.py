"""The ablation: what each part of LightMMoE changes in detection, forecasting and cost.

``params/ablation*.yaml`` say which variants run where.
"""

import json
from contextlib import suppress

import numpy as np
import pandas as pd

from lmmoe import paths
from lmmoe.data import Series
from lmmoe.detectors import detector
from lmmoe.detectors.scaling import Scaling
from lmmoe.errors import DataError
from lmmoe.report import experiment, store, study
from lmmoe.report.experiment import PROTOCOLS
from lmmoe.report.profile import LABEL, Profile, load
from lmmoe.report.statistics import holm, paired

FULL = "LightMMoE"
YARDSTICKS = "yardsticks"  # the group of what is no variant

# --- plans: which variants run where ---

WHOLE, SMALL = "ablation", "ablation-quick"
OTHER_DATA = ("ablation-asd", "ablation-synthetic")  # the same variants on other data


def plan(report: Profile) -> Profile:
    """Give the profile of the ablation in a report.

    That of SMD has the whole one, on the machines that are present; any other report a small one
    on its first two entities, in its own folders.
    """
    here = report.present
    if report.profile == report.dataset == "smd":
        found, passes = named(WHOLE), []
        for each in found.passes:
            chosen = [entity for entity in here if entity in (each.entities or here)]
            if chosen:
                own = {"entities": chosen} if each.entities else {}
                passes.append(each.model_copy(update=own))
        given = {"entities": here, "passes": passes, "root": report.root}
        return found.model_copy(update=given)
    names = ("profile", "dataset", "root", "reading", "vus_window")
    given = {name: getattr(report, name) for name in names}
    return named(SMALL).model_copy(update=given | {"entities": here[:2]})


def on_other_data(plan: Profile) -> list[Profile]:
    """Give the plans of the same variants on other data; none beside a small ablation."""
    others = OTHER_DATA if plan.profile == WHOLE else ()
    return [named(name).model_copy(update={"root": plan.root}) for name in others]


def whole(report: Profile) -> list[Profile]:
    """Give the plans in a report whose runs need jobs: not a small ablation, nor absent data."""
    main = plan(report)
    return [main, *filter(_present, on_other_data(main))] if main.profile == WHOLE else []


def rows_of(plan: Profile) -> pd.DataFrame:
    """Give the rows of all runs of a plan: without its data the published ones, else computed."""
    published = paths.figures(plan.profile) / "runs.csv"
    return experiment.table(plan) if _present(plan) else store.read(published, experiment.ALL)


def named(name: str) -> Profile:
    """Read ``params/NAME.yaml``."""
    return load(f"params/{name}.yaml")


def _present(plan: Profile) -> bool:
    with suppress(DataError):
        return bool(plan.present)
    return False


# --- variants ---

# The study's names of the variants for which it prints a score.
PRINTED = {
    "full": FULL,
    "one expert": "1 expert",
    "mean gate": "mean (no gate)",
    "no shared gate": "specific only (s = 0)",
    "specific gate only": "specific only (s = 0)",
    "no towers": "no towers",
    "extreme lightweight": "extremely light",
}
# It says something about these, too.
CLAIMED = {*PRINTED.values(), "2 experts", "8 experts", "shared only (s = 1)"} - {FULL}


def variants(plan: Profile) -> pd.DataFrame:
    """Take apart the names of a plan's detectors: a row per label, in the plan's order.

    Columns ``detector``, ``group``, ``variant``, ``settings`` (as in a row of runs) and
    ``claimed``: whether the study says something about it. Raises `ValueError` where a label has
    not the form ``DETECTOR / GROUP / VARIANT``.
    """
    lines = {}
    for label, settings in plan.detectors.items():
        name, *parts = label.split(LABEL)
        if len(parts) not in (0, 2):
            raise ValueError(f"detectors.{label}: expected 'DETECTOR / GROUP / VARIANT'")
        group, variant = parts or (FULL if name == FULL else YARDSTICKS, name)
        line = {"detector": name, "group": group, "variant": variant}
        line["settings"] = json.dumps(settings, sort_keys=True)
        lines[label] = line | {"claimed": variant in CLAIMED}
    return pd.DataFrame.from_dict(lines, orient="index")


def described(plan: Profile) -> pd.DataFrame:
    """Say what each variant is: settings, meaning, whose definition, and what was chosen here.

    The study gives no code of its variants, so that most definitions leave a choice.
    """
    how = {"dtype": str, "keep_default_na": False, "index_col": "variant"}
    words = store.published("variants", **how)
    known = variants(plan)
    of = known["variant"].where(known["variant"].isin(words.index), known["group"])
    said = words.reindex(of).fillna("").set_axis(known.index)
    return known[["variant", "settings"]].join(said).set_index("variant")


# --- forecasts: what the variants are trained for ---

FORECASTERS = (FULL, f"untrained {FULL}", "last value")  # their score is an error of a forecast


def last_value_error(series: Series) -> float:
    """Mean squared error, in z-scores, of the row before as the forecast; NaN where nothing moves.

    On the training rows that the protocol ``ours`` holds out: what every forecaster must beat
    (Hyndman and Athanasopoulos, "Forecasting: Principles and Practice", 3rd edition, section 5.2).
    """
    rows = PROTOCOLS["ours"].train(series)
    scaled = Scaling.of("z-score", rows)(rows)
    errors = (np.diff(scaled, axis=0, prepend=scaled[:1]) ** 2).mean(axis=1)
    return float(PROTOCOLS["ours"].calibrating(errors).mean()) or np.nan


def forecast_errors(rows: pd.DataFrame, plan: Profile, *, publish: bool = False) -> pd.Series:
    """Forecast errors on held-out rows, relative to the last value's, by the key of a run.

    A forecaster's scores of the rows that the protocol ``ours`` holds out are its squared errors
    there, so no model is needed. They are taken from ``figures/<plan>/forecast_errors.csv``, else
    from the cache; nothing is fitted. 1 is as good as repeating the last value, 0 is perfect. With
    ``publish`` those of a plan that has a file of its own are written there.
    """
    wanted = rows["error"].isna() & (rows["protocol"] == "ours")
    wanted = rows[wanted & rows["detector"].isin(FORECASTERS)]
    file = paths.figures(plan.profile) / "forecast_errors.csv"
    known = pd.read_csv(file, index_col="key")["forecast_error"] if file.is_file() else {}
    found = {key: known[key] for key in wanted["key"] if key in known}
    for entity, part in wanted[~wanted["key"].isin(list(found))].groupby("entity", sort=False):
        base = None
        for key in part["key"]:
            with suppress(OSError, ValueError):  # not in the cache
                scores = experiment.kept(paths.cache() / key).calibration
                base = base or last_value_error(plan.load(entity))
                found[key] = float(np.mean(scores)) / base
    errors = pd.Series(found, name="forecast_error", dtype=float).rename_axis("key")
    if publish and plan.profile in (WHOLE, *OTHER_DATA):
        with paths.replacing(file) as part:
            errors.to_csv(part, float_format="%.10g")
    return errors


# --- tables ---

DETECTION, FORECAST = "average_precision", "forecast_error"
ADJUSTED = "point_f1_pa"  # as the study scores
ENDS = ("difference", "low", "high")
DIFFERENCE = [f"{DETECTION}_{end}" for end in ENDS]


def by_variant(plan: Profile, rows: pd.DataFrame, errors: pd.Series) -> pd.DataFrame:
    """Make the main table: a row per variant, in the plan's order, yardsticks last.

    Means over the variant's own ``entities`` under the protocol ``ours``, seeds averaged first (of
    ``parameters``, the median). Point F1 (PA) is under the study's protocol and averaged as it
    averages, the mean of the groups' means. ``*_difference`` is the mean of variant - full model
    over the entities of both, with its 95 % bootstrap interval in ``*_low`` and ``*_high``.
    ``errors`` (`forecast_errors`) are averaged geometrically and compared by ``*_ratio``;
    ``train_ratio`` is the median over the entities of both of the training times' ratio. ``p``
    (Wilcoxon) is of average precision; ``holm_p`` is corrected within a family: the variants that
    the study says something about (``claimed``), and all others.
    """
    from lmmoe.report.tables import counts, entity_means  # slow: the workflow has no tables

    known, rows = variants(plan), labelled(rows, plan)
    ours = rows[rows["protocol"] == "ours"]
    behind = counts(rows, "ours")[["entities", "seeds"]]
    behind["failed"] = rows.groupby("detector")["error"].count()
    behind["parameters"] = ours.groupby("detector")["parameters"].median()
    seconds = ours.pivot_table("train_seconds", "entity", "detector", aggfunc="median")
    full = seconds.get(FULL, pd.Series(dtype=float))
    behind["train_ratio"] = seconds.div(full, axis=0).median()
    parts = [known[["group", "settings", "claimed"]], behind]
    for metric, protocol in ((DETECTION, "ours"), (ADJUSTED, "study")):
        values = entity_means(rows, protocol)[metric].unstack("detector")
        parts.append(_compared(values.dropna(axis=1, how="all"), metric))
    logs = ours.assign(value=np.log(ours["key"].map(errors).astype(float)))
    logs = logs.pivot_table(index="entity", columns="detector", values="value")
    ratio = {f"{FORECAST}_difference": f"{FORECAST}_ratio"}
    parts.append(np.exp(_compared(logs, FORECAST)).rename(columns=ratio))
    table = pd.concat(parts, axis=1).reindex(known.index)
    corrected = pd.Series(np.nan, index=table.index)
    for _, family in table[table["group"] != YARDSTICKS].groupby("claimed"):
        corrected[family.index] = holm(family["p"].astype(float))
    table.insert(table.columns.get_loc("p") + 1, "holm_p", corrected)
    return table.set_axis(known["variant"])


def labelled(rows: pd.DataFrame, plan: Profile) -> pd.DataFrame:
    """Choose a plan's rows, with the variant's label in place of the detector's name."""
    labels = variants(plan).reset_index(names="label")[["detector", "settings", "label"]]
    found = rows.merge(labels, on=["detector", "settings"])
    return found.assign(detector=found.pop("label"))


def _compared(values: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Give one metric's mean of each label, and its difference to the full model.

    ``values`` has entities down and labels across.
    """
    lines = {}
    for label, own in values.items():
        lines[label] = {metric: study.group_average(own) if metric == ADJUSTED else own.mean()}
        if FULL in values and label != FULL:
            found = paired(own, values[FULL])
            lines[label] |= {f"{metric}_{end}": getattr(found, end) for end in ENDS}
            lines[label]["p"] = found.p
    columns = [metric, *(f"{metric}_{end}" for end in ENDS)] + ["p"] * (metric == DETECTION)
    return pd.DataFrame.from_dict(lines, orient="index", columns=columns, dtype=float)


def in_common(plan: Profile, rows: pd.DataFrame) -> pd.DataFrame:
    """Choose the rows of entities that every variant with any result under ``ours`` has one on.

    So that variants can stand side by side. Failures do not count as results.
    """
    own = labelled(rows, plan)
    good = own[own["error"].isna() & (own["protocol"] == "ours")]
    ran = good.groupby("entity")["detector"].nunique()
    return rows[rows["entity"].isin(ran.index[ran == good["detector"].nunique()])]


def printed(table: pd.DataFrame) -> pd.DataFrame:
    """The study's printed Point F1 of each variant beside ours (`by_variant`), in percent.

    ``expected`` is the technical report's, ``measured`` the slides'; ``*_difference`` are the
    distances to the study's own full model, and ours with its interval. Random scores have no
    printed partner.
    """
    said = study.printed()
    said = said[said["subject"].str.startswith("ablation: ") & (said["metric"] == "point_f1")]
    names = said["subject"].str.removeprefix("ablation: ").map(PRINTED).rename("variant")
    said = said["number"].groupby([names, said["kind"]]).last().unstack()
    ends = {f"point_f1_pa{end}": f"ours{end}" for end in ("", "_difference", "_low", "_high")}
    chosen = table[table.index.isin([*said.index, "random"])]
    made = said.reindex(chosen.index)[["expected", "measured"]]
    own = made.sub(said.loc[FULL, made.columns]).add_suffix("_difference")
    ours = 100 * chosen[list(ends)].rename(columns=ends)
    made = pd.concat([made, ours.pop("ours"), own, ours], axis=1)
    return made.join(chosen[["entities", "seeds"]])


def sweeps(table: pd.DataFrame) -> pd.DataFrame:
    """The variants that differ from the full model in one number, and the full model, which is 0.

    ``table`` is `by_variant`'s, of rows `in_common`: a line joins its variants. Columns
    ``setting``, ``value`` and average precision's ``difference``, ``low``, ``high``; sorted.
    Settings with fewer than two variants are left out.
    """
    known = table[table["group"] != YARDSTICKS]
    given = zip(known["settings"].map(json.loads), known[DIFFERENCE].to_numpy(), strict=True)
    lines = [[*next(iter(one.items())), *ends] for one, ends in given if len(one) == 1]
    lines = [line for line in lines if type(line[1]) in (int, float)]
    made = pd.DataFrame(lines, columns=["setting", "value", *ENDS]).dropna(subset="difference")
    made = made[made.groupby("setting")["value"].transform("size") > 1]
    own = detector(FULL)
    full = [[name, getattr(own, name), 0.0, 0.0, 0.0] for name in made["setting"].unique()]
    made = pd.concat([made, pd.DataFrame(full, columns=made.columns)], ignore_index=True)
    return made.sort_values(["setting", "value"])


def by_dataset(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Differences in average precision on several data sets: variants down, three columns each.

    ``tables`` are `by_variant`'s by data set, the first of which gives the order.
    """
    parts = {name: table[DIFFERENCE].set_axis(ENDS, axis=1) for name, table in tables.items()}
    first = next(iter(tables.values()))
    chosen = first.index[first["group"].ne(YARDSTICKS) & (first.index != FULL)]
    found = pd.concat(parts, axis=1).reindex(chosen)
    return found.set_axis(found.columns.map("_".join), axis=1)
