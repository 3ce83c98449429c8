"""The ablation's tables: what each variant of LightMMoE changes (`lmmoe.report.ablation`)."""

import json

import numpy as np
import pandas as pd

from lmmoe.report import study
from lmmoe.report.ablation.variants import FULL, STUDIED, YARDSTICKS, variants
from lmmoe.report.evaluation import ADJUSTED
from lmmoe.report.params import Profile
from lmmoe.report.plots.style import METRIC_TITLES, title
from lmmoe.report.statistics import holm, paired
from lmmoe.report.study import group_average, spelled
from lmmoe.report.tables.means import SPENT, counts, entity_means
from lmmoe.report.tables.study import STUDY_METRICS

OURS = ("average_precision", "vus_pr")
COMPARED = (*OURS, *STUDY_METRICS, "forecast_error")
RATIO = "forecast_error"  # compared by its ratio to the full model's


def labelled(rows: pd.DataFrame, plan: Profile) -> pd.DataFrame:
    """Choose a plan's rows, with the variant's label in place of the detector's name.

    So all tables of detectors are tables of variants.
    """
    labels = {(one.detector, one.settings): one.label for one in variants(plan)}
    pairs = zip(rows["detector"], rows["settings"], strict=True)
    found = pd.Series([labels.get(pair) for pair in pairs], index=rows.index, dtype=object)
    return rows.assign(detector=found)[found.notna()]


def in_common(plan: Profile, rows: pd.DataFrame, protocol: str = "ours") -> pd.DataFrame:
    """Choose the rows of entities that every variant with any result has one on.

    So that means of all can stand side by side. Failures do not count as results.
    """
    own = labelled(rows, plan)
    good = own[own["error"].isna() & (own["protocol"] == protocol)]
    ran = good.groupby("entity")["detector"].nunique()
    return rows[rows["entity"].isin(ran.index[ran == good["detector"].nunique()])]


def by_setting(
    plan: Profile, rows: pd.DataFrame, errors: pd.Series | None = None, protocol: str = "ours"
) -> pd.DataFrame:
    """Make the main table: a row per setting, in the plan's order, yardsticks last.

    Means over the variant's own ``entities``, seeds averaged first (of costs, medians): metrics of
    `COMPARED`, the study's three under its protocol and averaged as it averages, the mean of the
    groups' means; the same three under ``protocol``, a plain mean, end in ``_ours``. Where the
    entities differ (`in_common` chooses rows where they do not), compare by the following alone.
    ``*_difference`` is the mean of variant - full model over the entities of both, with its 95 %
    bootstrap interval in ``*_low`` and ``*_high``. ``errors`` (`report.ablation.forecast_errors`)
    are averaged geometrically and compared by ``*_ratio``; ``train_ratio`` is the median over the
    entities of both of the training times' ratio.
    ``wins``, ``ties``, ``losses`` and ``p`` (Wilcoxon) are of average precision; ``holm_p`` is
    corrected within a family: the variants that the study claims something about
    (``claimed``), and all others.
    """
    rows, known = labelled(rows, plan), [one for one in variants(plan)]
    values = {name: values_of(rows, name, errors, protocol) for name in COMPARED}
    head = pd.DataFrame(
        {"group": one.group, "settings": one.settings, "claimed": one.claimed} for one in known
    )
    parts = [head.set_axis([one.label for one in known]), _behind(rows, protocol)]
    parts += [_compared(values[name], name) for name in COMPARED]
    parts.append(_adjusted(rows, protocol))
    table = pd.concat(parts, axis=1).reindex([one.label for one in known])
    table.insert(table.columns.get_loc("p") + 1, "holm_p", _holm(table))
    return table.set_axis([one.name for one in known]).rename_axis("variant")


def values_of(
    rows: pd.DataFrame, metric: str, errors: pd.Series | None = None, protocol: str = "ours"
) -> pd.DataFrame:
    """One of `COMPARED`, seeds averaged: entities down, labels across; without a run, no column."""
    if metric == RATIO:
        known = rows.assign(value=np.log(rows["key"].map({} if errors is None else errors)))
        known = known[known["protocol"] == protocol]
        return known.pivot_table(index="entity", columns="detector", values="value")
    wanted = protocol if metric in OURS else "study"
    return entity_means(rows, wanted)[metric].unstack("detector").dropna(axis=1, how="all")


def _behind(rows: pd.DataFrame, protocol: str) -> pd.DataFrame:
    """Count what is behind the means; median costs."""
    table = counts(rows, protocol)[["entities", "seeds"]]
    table["failed"] = rows.groupby("detector")["error"].count()
    costs = rows[rows["protocol"] == protocol].groupby("detector")[list(SPENT)].median()
    return table.join(costs[["parameters", "train_seconds"]]).join(_train_ratio(rows, protocol))


def _train_ratio(rows: pd.DataFrame, protocol: str) -> pd.Series:
    spent = rows[rows["protocol"] == protocol]
    seconds = spent.pivot_table("train_seconds", "entity", "detector", aggfunc="median")
    if FULL not in seconds:
        return pd.Series(name="train_ratio", dtype=float)
    return seconds.div(seconds[FULL], axis=0).median().rename("train_ratio")


def _compared(values: pd.DataFrame, metric: str) -> pd.DataFrame:
    """One metric's mean of each label, and its difference to the full model, entity by entity."""
    lines = {}
    for label in values:
        mean = values[label].mean()
        line = {metric: group_average(values[label].dropna()) if metric in STUDY_METRICS else mean}
        if FULL in values and label != FULL:
            found = paired(values[label], values[FULL])
            line |= {f"{metric}_{end}": getattr(found, end) for end in ENDS}
            if metric == OURS[0]:
                line |= {name: getattr(found, name) for name in TESTED}
        lines[label] = line
    more = TESTED if metric == OURS[0] else ()
    columns = [metric, *(f"{metric}_{end}" for end in ENDS), *more]
    made = pd.DataFrame.from_dict(lines, orient="index").reindex(columns=columns)
    if metric == RATIO:  # logarithms until here
        return np.exp(made.astype(float)).rename(columns={f"{RATIO}_difference": f"{RATIO}_ratio"})
    return made


def _adjusted(rows: pd.DataFrame, protocol: str) -> pd.DataFrame:
    """The study's three scores of each label under a protocol, a plain mean over entities."""
    means = entity_means(rows, protocol)[list(STUDY_METRICS)]
    return means.groupby("detector").mean().add_suffix(OWN)


ENDS = ("difference", "low", "high")
OWN = "_ours"  # ends the names of scores that are not of the study's own protocol
TESTED = ("wins", "ties", "losses", "p")


def _holm(table: pd.DataFrame) -> pd.Series:
    """Correct p within each family; yardsticks are in none."""
    corrected = pd.Series(np.nan, index=table.index)
    for _, part in table[table["group"] != YARDSTICKS].groupby("claimed"):
        corrected[part.index] = holm(part["p"].astype(float))
    return corrected


def printed(table: pd.DataFrame) -> pd.DataFrame:
    """The study's printed Point F1 of each variant beside ours, in percent.

    ``table`` is `by_setting`'s. ``expected`` is the technical report's, ``measured`` the slides';
    ``*_difference`` are the distances to the study's own full model, and ours with its interval.
    Random scores have no printed partner.
    """
    said = _said()
    lines = {}
    for name, line in table.iterrows():
        text = spelled(line["settings"])
        if name != "random" and (line["group"] == YARDSTICKS or text not in said):
            continue
        found = said[text] if name != "random" else {}
        ours = 100 * line[[f"point_f1_pa{end}" for end in ("", "_difference", "_low", "_high")]]
        own = dict(zip(("ours", *(f"ours_{end}" for end in ENDS)), ours, strict=True))
        lines[name] = found | own | {"entities": line["entities"], "seeds": line["seeds"]}
    made = pd.DataFrame.from_dict(lines, orient="index").rename_axis("variant")
    for kind in KINDS:
        made[kind] = made.get(kind, pd.Series(dtype=float)).astype(float)
        made[f"{kind}_difference"] = made[kind] - said["{}"].get(kind, np.nan)
    order = [f"{kind}{end}" for end in ("", "_difference") for kind in (*KINDS, "ours")]
    return made.reindex(columns=[*order, "ours_low", "ours_high", "entities", "seeds"])


KINDS = ("expected", "measured")


def sweeps(table: pd.DataFrame) -> pd.DataFrame:
    """The variants that differ from the full model in one number, which is 0 apart from itself.

    ``table`` is `by_setting`'s, of rows `in_common`: a line joins its variants. Columns
    ``setting``, ``value`` and average precision's ``difference``, ``low``, ``high``; sorted.
    Settings with fewer than two variants are left out.
    """
    lines = []
    for _, line in table[table["group"] != YARDSTICKS].iterrows():
        given = json.loads(line["settings"])
        numbers = [k for k, v in given.items() if k in BASE and isinstance(v, int | float)]
        if len(given) == 1 and numbers:
            found = [line[f"{OURS[0]}_{end}"] for end in ENDS]
            lines.append((numbers[0], given[numbers[0]], *found))
    made = pd.DataFrame(lines, columns=["setting", "value", *ENDS]).dropna(subset="difference")
    made = made[made.groupby("setting")["value"].transform("size") > 1]
    itself = [(name, BASE[name], 0.0, 0.0, 0.0) for name in made["setting"].unique()]
    both = [*made.itertuples(index=False, name=None), *itself]
    return pd.DataFrame(both, columns=made.columns).sort_values(["setting", "value"])


BASE = {
    **{"window": 16, "experts": 4, "kernels": 8, "hidden": 128, "out": 64, "tower": 16},
    **{"shared": 0.7, "gate": "mixed", "epochs": 5, "batch": 64, "horizon": 1},
}  # the full model's


def _said() -> dict[str, dict[str, float]]:
    """The study's printed averages by settings and kind."""
    names = {"full": {}} | STUDIED
    said: dict[str, dict[str, float]] = {}
    for claim in study.printed():
        name = claim.subject.removeprefix("ablation: ")
        if claim.subject.startswith("ablation: ") and claim.metric == "point_f1":
            text = spelled(json.dumps(names[name]))
            said.setdefault(text, {})[claim.kind] = claim.number
    return said


def opinions(tables: dict[str, pd.DataFrame], metric: str = "average_precision") -> pd.DataFrame:
    """Differences to the full model on several data sets: variants down, three columns each.

    ``tables`` are `by_setting`'s by data set, the first of which gives the order.
    """
    ends = [f"{metric}_{end}" for end in ENDS]
    parts = {name: table[ends].set_axis(list(ENDS), axis=1) for name, table in tables.items()}
    first = next(iter(tables.values()))
    chosen = first.index[first["group"].ne(YARDSTICKS) & (first.index != FULL)]
    both = pd.concat(parts, axis=1).reindex(chosen)
    both.columns = [f"{name}_{end}" for name, end in both.columns]
    return both.rename_axis("variant")


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """Choose what people read of `by_setting`'s table, under their names and rounded.

    Point-adjusted columns are left out where random scores are not among the rows. Means stand side
    by side here, so the table should be that of rows `in_common`.
    """
    floor = "random" in table.index and not np.isnan(table.loc["random", f"point_f1_pa{OWN}"])
    names = [name for name in COLUMNS if floor or name.removesuffix(OWN) not in ADJUSTED]
    made = table[names].round(pd.Series(dict.fromkeys(names, 3) | DIGITS))
    made["holm_p"] = table["holm_p"].map("{:.3f}".format).where(table["holm_p"].notna(), "")
    return made.rename(columns=COLUMNS, index=title)


COLUMNS = {
    "group": "group",
    "average_precision": "average precision",
    "average_precision_difference": "difference",
    "average_precision_low": "from",
    "average_precision_high": "to",
    "holm_p": "p (Holm)",
    "vus_pr": "VUS-PR",
    "forecast_error": "forecast error (last value: 1)",
    **{f"{name}{OWN}": METRIC_TITLES[name] for name in STUDY_METRICS},
    "parameters": "parameters",
    "train_seconds": "train (s)",
    "train_ratio": "train (full model: 1)",
    "entities": "entities",
    "seeds": "seeds",
    "failed": "failed",
}
DIGITS = {"parameters": 0, "train_seconds": 1, "train_ratio": 2}
