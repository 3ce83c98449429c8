"""The mistakes in sentences, every number taken from their tables."""

import pandas as pd

from lmmoe.report.evaluation import ADJUSTED
from lmmoe.report.pitfalls import MISTAKES, Mistake
from lmmoe.report.pitfalls.together import STEPS, TOGETHER
from lmmoe.report.plots.style import title
from lmmoe.report.tables.pitfalls import AMAD_METRICS, TITLES

NOTHING = "No labelled events, or no run that succeeded: no mistake can be made."
SMALL = 0.005  # a gain below it is told as none
SUBJECT, CHANCE = "LightMMoE", "random"
MOST = 4  # named in one sentence
BY_OTHERS = {one.title for one in MISTAKES if one.by_others}


def findings(made: pd.DataFrame, dataset: str) -> str:
    """What the mistakes of `report.tables.pitfalls.table` give, as Markdown: at most seven points.

    The most important first: what flatters most, what it does to random scores and to the order.
    """
    if made.empty:
        return NOTHING
    entities = int(made["machines"].max())
    lines = [
        f"On {entities} {_things(entities)} of {dataset}; gains are differences between the number "
        "after a mistake and before it, each metric from 0 to 1:",
        "",
        *_flatterers(made),
        *_chance(made),
        *_order(made),
        *_by_others(made),
        *_small(made),
        "- Entities of one data set are not independent data sets: intervals are too narrow.",
    ]
    return "\n".join(lines)


def _things(count: int) -> str:
    return "entity" if count == 1 else "entities"


def _means(made: pd.DataFrame) -> pd.Series:
    """Mean gain of each mistake over the detectors, highest first."""
    return made.groupby("mistake", sort=False)["gain"].mean().sort_values(ascending=False)


def _flatterers(made: pd.DataFrame) -> list[str]:
    """What gives most, and the next two: each with what it leaves of the lead over random."""
    means = _means(made[~made["mistake"].isin(BY_OTHERS)]).head(3)
    named = [
        (str(name), signed(gain), _gains(made, name) + _lead(made, name))
        for name, gain in means.items()
        if gain >= SMALL
    ]
    lines = [
        f"- **{_large(name)}** gives {gain} in the mean: {to}." for name, gain, to in named[:1]
    ]
    rest = [f"**{name}** ({gain} in the mean: {to})" for name, gain, to in named[1:]]
    return [*lines, f"- Then {' and '.join(rest)}."] if rest else lines


def _lead(made: pd.DataFrame, mistake: object) -> str:
    part = made[made["mistake"] == mistake].set_index("detector")
    if not {SUBJECT, CHANCE} <= set(part.index):
        return ""
    before, after = (
        part.loc[SUBJECT, when] - part.loc[CHANCE, when] for when in ("before", "after")
    )
    return f"; {SUBJECT}'s lead over random scores goes from {before:.3f} to {after:.3f}"


def signed(number: float) -> str:
    """A difference with its sign and three digits; what rounds to nothing has a plus."""
    return f"{round(number, 3) + 0.0:+.3f}"


def _gains(made: pd.DataFrame, mistake: object) -> str:
    part = made[made["mistake"] == mistake]
    pairs = zip(part["detector"], part["gain"], strict=True)
    return ", ".join(f"{title(name)} {signed(gain)}" for name, gain in pairs)


def _chance(made: pd.DataFrame) -> list[str]:
    """Where random scores gain at least as much as everybody else."""
    gains = made.pivot(index="mistake", columns="detector", values="gain")
    if CHANCE not in gains:
        return []
    gains = gains.loc[[name for name in made["mistake"].unique() if name not in BY_OTHERS]]
    won = gains[gains[CHANCE].ge(gains.max(axis=1)) & gains[CHANCE].ge(SMALL)][CHANCE]
    if won.empty:
        return ["- No mistake gives random scores more than it gives to all the others."]
    named = _listed(
        [f"{name} ({signed(gain)})" for name, gain in won.sort_values(ascending=False).items()]
    )
    return [f"- Random scores gain more than any detector from: {named}."]


def _order(made: pd.DataFrame) -> list[str]:
    """What moves the detectors past one another most often."""
    moved = made.groupby("mistake", sort=False)["order_changes"].first()
    top = moved[moved > 0].sort_values(ascending=False, kind="stable")
    if top.empty:
        return ["- No mistake changes the order of the detectors."]
    named = ", ".join(f"{name} ({share:.0%})" for name, share in top.head(MOST).items())
    return [
        f"- {int((moved > 0.5).sum())} of {len(moved)} mistakes change the order of the detectors "
        f"in more than half of the resampled fleets; most often: {named}.{_places(made)}"
    ]


def _places(made: pd.DataFrame) -> str:
    """Which mistakes lift the study's subject, and which push it down."""
    rows = made[made["detector"] == SUBJECT]
    parts = []
    for word, moved in (
        ("up", rows[rows["rank_after"] < rows["rank_before"]]),
        ("down", rows[rows["rank_after"] > rows["rank_before"]]),
    ):
        places = [
            f"{line.mistake} ({line.rank_before:.0f} to {line.rank_after:.0f})"
            for line in moved.itertuples()
        ]
        if places:
            parts.append(f"{word} by {_listed(places, most=len(places))}")
    if not parts:
        return ""
    others = made["detector"].nunique()
    return f" {SUBJECT}'s place among the {others} moves {'; '.join(parts)}."


def _by_others(made: pd.DataFrame) -> list[str]:
    """Mistakes that flatter the subject where they lower the others."""
    leads = {name: _distance(made, name) for name in made["mistake"].unique() if name in BY_OTHERS}
    return [
        f"- **{_large(name)}** leaves {SUBJECT}'s own number as it is and changes the others': its "
        f"lead over the best of them goes from {signed(lead[0])} to {signed(lead[1])}."
        for name, lead in leads.items()
        if lead
    ]


def _distance(made: pd.DataFrame, mistake: str) -> list[float]:
    """The subject's lead over the best of the others, before and after; empty without either."""
    part = made[made["mistake"] == mistake].set_index("detector")
    others = part.drop(index=[SUBJECT, CHANCE], errors="ignore")
    if SUBJECT not in part.index or others.empty:
        return []
    return [float(part.loc[SUBJECT, when] - others[when].max()) for when in ("before", "after")]


def _small(made: pd.DataFrame) -> list[str]:
    """What moves little on these data, and what lowers the number: wrong all the same."""
    made = made[~made["mistake"].isin(BY_OTHERS)]
    largest = made["gain"].abs().groupby(made["mistake"], sort=False).max()
    none = [str(name) for name, size in largest.items() if size < SMALL]
    means = _means(made)
    lower = means[means <= -SMALL].sort_values()
    parts = []
    if none:
        parts.append(
            f"Below {SMALL} for every detector on these data: {_listed(none, most=len(none))}."
        )
    if len(lower):
        named = _listed([f"{name} ({signed(gain)})" for name, gain in lower.items()])
        parts.append(f"A mistake need not flatter; in the mean these lower the number: {named}.")
    return [f"- {' '.join(parts)}"] if parts else []


def _listed(parts: list[str], *, most: int = MOST) -> str:
    more = f" and {len(parts) - most} more" if len(parts) > most else ""
    return ", ".join(parts[:most]) + more


def _large(text: str) -> str:
    return text[:1].upper() + text[1:]


def explained(group: str) -> str:
    """The mistakes of a group of `report.pitfalls.GROUPS` as a list: what is wrong, who says so."""
    return "\n".join(
        f"- **{one.number}. {_large(one.title)}.** {one.wrong} *({one.source})*"
        for one in MISTAKES
        if one.group == group
    )


def starts(made: pd.DataFrame) -> str:
    """What number stands before each mistake, as Markdown: some are no honest ones themselves."""
    if made.empty:
        return NOTHING
    firsts = made.drop_duplicates("mistake")
    lines = [
        f"- {TITLES.get(str(metric), str(metric))}{_already(str(metric))}: "
        + ", ".join(map(str, part["number"]))
        for metric, part in firsts.groupby("metric", sort=False)
    ]
    return "\n".join(["What the mistakes, by number, start from:", "", *lines])


def _already(metric: str) -> str:
    if metric in ADJUSTED:
        return " (mistakes 1 and 2 are in it already)"
    return " (mistake 2 is in it already)" if metric.startswith("best_") else ""


def together(tried: pd.DataFrame) -> str:
    """What three mistakes at once give (`lmmoe.report.tables.pitfalls.sweeps`), in a sentence."""
    part = tried[tried["mistake"] == TOGETHER.title]
    if part.empty:
        return NOTHING
    if CHANCE not in set(part["detector"]):
        return "Random scores failed; without them no point-adjusted number is told."
    wide = part.pivot(index="detector", columns="setting", values="value")
    ends = wide.loc[list(dict.fromkeys(part["detector"])), [STEPS[0], STEPS[-1]]]
    text = ", ".join(f"{title(name)} from {a:.3f} to {b:.3f}" for name, a, b in ends.itertuples())
    if SUBJECT not in ends.index:
        return f"Three mistakes together take {text}."
    before, after = ends.loc[SUBJECT] - ends.loc[CHANCE]
    return (
        f"Three mistakes together take {text}; {SUBJECT}'s lead over random scores goes from "
        f"{before:.3f} to {after:.3f}."
    )


def checklist(made: pd.DataFrame) -> str:
    """What to ask of a paper's table, the costliest question first, with what it is worth here."""
    worth = _means(made) if len(made) else pd.Series(dtype=float)
    for name in BY_OTHERS & set(worth.index):
        lead = _distance(made, name)
        worth[name] = lead[1] - lead[0] if lead else worth[name]
    names = list(worth.sort_values(ascending=False, kind="stable").index)
    place = {name: number for number, name in enumerate(names)}
    ordered = sorted(MISTAKES, key=lambda one: place.get(one.title, len(place)))
    lines = [f"1. {one.ask}{_worth(made, one)}" for one in ordered]
    return "\n".join(lines)


def _worth(made: pd.DataFrame, one: Mistake) -> str:
    part = made[made["mistake"] == one.title]
    shown = part[part["detector"].isin((SUBJECT, CHANCE))]
    if shown.empty:
        return ""
    lead = _distance(made, one.title) if one.by_others else []
    if lead:
        ends = f"{signed(lead[0])} to {signed(lead[1])}"
        return f" *({_large(one.title)}: {SUBJECT}'s lead over the best of the others {ends})*"
    gains = ", ".join(f"{title(row.detector)} {signed(row.gain)}" for row in shown.itertuples())
    return f" *({_large(one.title)}: {gains})*"


def failed(failures: list[str]) -> str:
    """What could not be measured (`Measured.failures`); a failure is in no number."""
    if not failures:
        return "Every run and every experiment succeeded."
    shown = [f"- {text}" for text in failures[:MOST]]
    more = [f"- and {len(failures) - MOST} more"] if len(failures) > MOST else []
    return "\n".join(["Failed, and in no number:", "", *shown, *more])


def amad(table: pd.DataFrame) -> str:
    """What mending each of AMAD's mistakes changes (`lmmoe.report.tables.pitfalls.amad`)."""
    if table.empty:
        return "This profile runs no AMAD under the study's protocol."
    start = table.loc["as published"]
    lines = [
        f"On {start['machines']:.0f} entities, as published: "
        + ", ".join(f"{TITLES[metric]} {start[metric]:.3f}" for metric in AMAD_METRICS)
        + ". Mended:",
        "",
    ]
    for name, row in table.drop(index=["as published", CHANCE], errors="ignore").iterrows():
        parts = [f"{TITLES[metric]} {signed(row[f'{metric}_gain'])}" for metric in AMAD_METRICS]
        low, high = row["average_precision_low"], row["average_precision_high"]
        bounds = "" if pd.isna(low) else f" (95 % interval {signed(low)} to {signed(high)})"
        lines.append(f"- {name}: {parts[0]}{bounds}, {', '.join(parts[1:])}.")
    if CHANCE in table.index:
        chance = table.loc[CHANCE]
        reached = ", ".join(f"{TITLES[metric]} {chance[metric]:.3f}" for metric in AMAD_METRICS)
        lines.append(f"- Random scores on the same entities: {reached}.")
    return "\n".join(lines)
