"""Notebook 07 in sentences, every number taken from its tables."""

import numpy as np
import pandas as pd

from lmmoe.data import Series
from lmmoe.report.compression.methods import AS_IS, DISTILLING, INTEGERS, LARGE, PRUNING, SMALL
from lmmoe.report.compression.shares import kept_shares
from lmmoe.report.compression.table import BRIEF, CHOSEN
from lmmoe.report.deployment.first_rows import ALL, OWN, UNSEEN
from lmmoe.report.deployment.newcomer import means
from lmmoe.report.deployment.steps import BATCH, INT8, ONNX, STEP
from lmmoe.report.deployment.story import Alarmed, Day, Exported, Restart
from lmmoe.report.plots.style import title

NO_ALARMS = "No entity with labelled events and known days: no alarms to count."
RULES = {
    "budget:1": "a budget of one alarm a day",
    "quantile:0.99": "the 0.99 quantile",
    "pot:0.0001": "peaks over threshold",
    "spot:0.0001": "peaks over threshold that go on learning",
}


def watched(day: Day, series: Series) -> str:
    """Tell what the day's watch saw."""
    events = [(a, b) for a, b in series.events if b > day.start and a < day.end]
    hit = sum(any(a < end and b >= begin for a, b in day.alarms) for begin, end in events)
    false = sum(not any(a < end and b >= begin for begin, end in events) for a, b in day.alarms)
    return (
        f"Rows {day.start:,} to {day.end - 1:,} of {series.entity}: {_count(events, 'event')} by "
        f"the labels, {_count(day.alarms, 'alarm')} at threshold {day.threshold:.4g}; {hit} of the "
        f"events met by an alarm, {_count(range(false), 'false alarm')}."
    )


def _count(things: object, name: str) -> str:
    count = len(things)
    return f"{count} {name}{'' if count == 1 else 's'}"


def explained(alarm: Alarmed | None, series: Series) -> str:
    """Tell which channels opened the alarm, and what the labels call the cause, if they say."""
    if alarm is None:
        return "No alarm opened on this day: nothing to explain."
    parts = [
        f"{name} ({share:.0%})"
        for name, share in zip(alarm.channels[:3], alarm.shares[:3], strict=False)
    ]
    text = f"The alarm of row {alarm.row:,} names {', '.join(parts)}."
    causes = [c for c in series.causes or () if c.start <= alarm.row < c.end]
    if causes:
        names = [series.channels[number] for number in causes[0].channels]
        both = [name for name in alarm.channels if name in names]
        text += (
            f" The data's authors name {len(names)} channels for this event; {len(both)} of the "
            f"{len(alarm.channels)} that stand above are among them."
        )
    return text


def restarted(found: Restart) -> str:
    """Tell whether a restart changed anything."""
    same = (
        "every score is the same to the last bit"
        if found.difference == 0
        else f"scores differ by at most {found.difference:.2g}"
    )
    return (
        f"Stopped before row {found.row:,}, model and state read from files: over the "
        f"{found.rows:,} rows of the day {same}. The state is {found.bytes:,} bytes."
    )


def exported(found: Exported) -> str:
    """Tell what the ONNX file is worth."""
    return (
        f"The ONNX file has {found.bytes / 1000:,.0f} kB and takes raw rows. ONNX Runtime's scores "
        f"of {found.rows:,} rows are within {found.difference:.1g} of PyTorch's (above 1 as a "
        "share)."
    )


def alarms(summary: pd.DataFrame) -> str:
    """Tell how false alarms and found events compare with what the rules promise: a list."""
    if summary.empty:
        return NO_ALARMS
    lines = []
    for line in summary.to_dict("records"):
        text = (
            f"- {title(line['detector'])}, {RULES.get(line['rule'], line['rule'])}: "
            f"{line['false_alarms_per_day']:.2f} false alarms a machine-day, "
            f"{line['found']:.0%} of {line['events']:.0f} events found ({line['announced']:.0%} "
            "by an alarm that began in them)"
        )
        if np.isfinite(line["promised_per_day"]):
            text += f"; {line['alarms_per_day']:.2f} alarms a day in all, where at most "
            text += f"{line['promised_per_day']:g} was promised on training rows"
        elif np.isfinite(line["promised_share"]):
            text += f"; {line['share']:.2%} of normal rows above it, {line['promised_share']:.2%} "
            text += "promised"
        lines.append(f"{text}.")
    return "\n".join(lines)


def live_rows(steps: pd.DataFrame) -> str:
    """Tell what a row costs that comes alone: a list."""
    good = steps[steps["error"].isna()]
    live = good[good["way"] == STEP].set_index("detector")
    if live.empty:
        return "No detector here has a live score."
    middle = live["p50_processor_ms"]
    lines = [
        f"- {len(live)} detectors have a live score: from {middle.min():.3g} ms a row "
        f"({title(middle.idxmin())}) to {middle.max():.3g} ms ({title(middle.idxmax())}), medians "
        "of whole steps, processor time."
    ]
    ways = good[good["detector"] == SMALL].set_index("way")["p50_processor_ms"]
    if {STEP, BATCH, ONNX, INT8} <= set(ways.index):
        lines.append(
            f"- {SMALL}: {ways[STEP]:.3g} ms for a live step; a call of its batch function takes "
            f"{ways[BATCH]:.3g} ms, ONNX Runtime {ways[ONNX]:.3g} ms for the score alone, in int8 "
            f"{ways[INT8]:.3g} ms."
        )
    none = steps.loc[(steps["way"] == STEP) & steps["error"].notna(), "detector"]
    if len(none):
        lines.append(f"- Without a live score: {', '.join(map(title, none))}.")
    return "\n".join(lines)


def compressed(table: pd.DataFrame) -> str:
    """Tell what each kind of compression keeps and gains: a list."""
    shares = kept_shares(table)
    lines = []
    for base in dict.fromkeys(shares["base"]):
        own = shares[(shares["base"] == base) & ~shares.index.str.contains("not trained")]
        chance = own.loc["random"]
        lines.append(
            f"- Of {base} ({_count(range(int(own.loc[base, 'entities'])), 'entity')}); random "
            f"scores keep {chance['average_precision']:.0%} of its average precision and "
            f"{chance['point_f1_pa']:.0%} of its Point F1 (PA):"
        )
        for kind in (PRUNING, DISTILLING, INTEGERS):
            part = own[own["kind"] == kind]
            if len(part):
                line = part.sort_values("bytes", kind="stable").iloc[0]
                lines.append(f"  - {kind}, the smallest ({line.name}): {_kept(line)}.")
    failed = table.loc[table["error"].notna(), "method"]
    if len(failed):
        lines.append(f"- Failed: {', '.join(sorted(set(failed)))}.")
    return "\n".join(lines).replace("1 entitys", "1 entity").replace("entitys", "entities")


def _kept(line: pd.Series) -> str:
    return (
        f"{line['parameters']:.0%} of the parameters, {line['bytes']:.0%} of the bytes, "
        f"{line['average_precision']:.0%} of average precision, {line['point_f1_pa']:.0%} of "
        f"Point F1 (PA), {line['speed']:.2g} times the speed"
    )


def newcomers(table: pd.DataFrame) -> str:
    """Tell what a machine gets that no training has seen: a list."""
    joined = means(table)
    if joined.empty:
        return "Too few machines of the same channels with labels and days: none can be held out."
    quality = joined.pivot(index="learned", columns="method", values="average_precision")
    loud = 100 * joined.pivot(index="learned", columns="method", values="normal_share")
    amounts = [name for name in dict.fromkeys(joined["learned"]) if name != ALL]
    lines = [f"On {joined['entities'].iloc[0]} machines, each held out with its group:", ""]
    for name in (*amounts, ALL):
        line = quality.loc[name]
        lines.append(
            f"- {name}: average precision {_or_none(line, UNSEEN)} with the network of other "
            f"machines, {_or_none(line, OWN)} with a model of its own, "
            f"{_or_none(line, 'MTSExample')} with the L2 norm, {_or_none(line, 'random')} by "
            f"chance. At a budget of one alarm a day {_or_none(loud.loc[name], UNSEEN, '.1f')}, "
            f"{_or_none(loud.loc[name], OWN, '.1f')}, "
            f"{_or_none(loud.loc[name], 'MTSExample', '.1f')} and "
            f"{_or_none(loud.loc[name], 'random', '.1f')} % of normal rows are in alarm."
        )
    missing = table["error"].notna().sum()
    if missing:
        lines.append(f"- {missing} of {len(table)} lines failed and are left out.")
    return "\n".join(lines)


def _or_none(line: pd.Series, name: str, form: str = ".3f") -> str:
    value = line.get(name, np.nan)
    return format(value, form) if np.isfinite(value) else "none (too few rows)"


def rules(table: pd.DataFrame) -> str:
    """List the places with their rules (`lmmoe.report.deployment.choice`)."""
    return "\n".join(f"- *{p['place']}*: {p['asks for']}." for p in table.to_dict("records"))


def chosen(table: pd.DataFrame, candidates: pd.DataFrame) -> str:
    """Tell which detector the rules send where, and what LightMMoE would be: a sentence or two."""
    sent = table.dropna(subset=["detector"])
    parts = [f"{line['place']}: **{title(line['detector'])}**" for line in sent.to_dict("records")]
    text = f"Of {len(candidates)} detectors the rules choose, {'; '.join(parts)}."
    if SMALL not in candidates.index:
        return text
    places = [line["place"] for line in sent.to_dict("records") if line["detector"] == SMALL]
    place = candidates["average_precision"].rank(ascending=False)[SMALL]
    said = f"is chosen for {', '.join(places)}" if places else "is chosen nowhere"
    return (
        f"{text} {SMALL} {said}: by average precision it is number {place:.0f} "
        f"({candidates.loc[SMALL, 'average_precision']:.3f})."
    )


def large_as_is(table: pd.DataFrame) -> str:
    """Say how the large and the small model were trained here, where that matters."""
    own = table[(table["kind"] == AS_IS) & (table["base"] == LARGE)]
    where = ", ".join(dict.fromkeys(own["entity"]))
    text = f"Measured on {where}, under the study's own protocol."
    if set(own["dataset"]) <= set(CHOSEN):
        return text
    settings = ", ".join(f"{name} {value}" for name, value in BRIEF[LARGE].items())
    return f"{text} Here {LARGE} was trained briefly ({settings}): only the way is shown."
