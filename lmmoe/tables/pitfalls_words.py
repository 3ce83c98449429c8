"""The mistakes in sentences, every number taken from their tables."""

import pandas as pd

from lmmoe.pitfalls import MISTAKES, Mistake
from lmmoe.pitfalls.facts import KINDS, inconsistent, study_file, twins
from lmmoe.plots.style import title
from lmmoe.tables.pitfalls import AMAD_METRICS, TITLES

NOTHING = "No labelled events, or no run that succeeded: no mistake can be made."
SMALL = 0.005  # a gain below it is told as none
SUBJECT, CHANCE = "LightMMoE", "random"
MOST = 4  # named in one sentence


def findings(made: pd.DataFrame, dataset: str) -> str:
    """What the mistakes of `lmmoe.tables.pitfalls.table` give, as Markdown: at most eight lines."""
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
        *_subject(made),
        *_none(made),
        *_costs(made),
        "- Entities of one data set are not independent data sets: intervals are too narrow.",
    ]
    return "\n".join(lines)


def _things(count: int) -> str:
    return "entity" if count == 1 else "entities"


def _means(made: pd.DataFrame) -> pd.Series:
    """Mean gain of each mistake over the detectors, highest first."""
    return made.groupby("mistake", sort=False)["gain"].mean().sort_values(ascending=False)


def _flatterers(made: pd.DataFrame) -> list[str]:
    """The three that give most, and what each leaves of the lead over random scores."""
    lines = []
    for name, gain in _means(made).head(3).items():
        if gain >= SMALL:
            text = (
                f"- **{_large(str(name))}** gives {signed(gain)} in the mean: {_gains(made, name)}"
            )
            lines.append(f"{text}{_lead(made, name)}.")
    return lines


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
    gains = gains.loc[list(dict.fromkeys(made["mistake"]))]
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
        f"in more than half of the resampled fleets; most often: {named}."
    ]


def _subject(made: pd.DataFrame) -> list[str]:
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
    if rows.empty or not parts:
        return []
    others = made["detector"].nunique()
    return [f"- {SUBJECT}'s place among the {others} moves {'; '.join(parts)}."]


def _none(made: pd.DataFrame) -> list[str]:
    """What makes no difference on these data."""
    largest = made.groupby("mistake", sort=False)["gain"].agg(_largest)
    none = [str(name) for name, size in largest.items() if size < SMALL]
    if not none:
        return []
    named = _listed(none, most=len(none))
    return [f"- Below {SMALL} for every detector, so without weight on these data: {named}."]


def _largest(gains: pd.Series) -> float:
    return float(gains.abs().max())


def _costs(made: pd.DataFrame) -> list[str]:
    """Mistakes that lower the number: wrong all the same."""
    means = _means(made)
    lower = means[means <= -SMALL].sort_values()
    if lower.empty:
        return []
    named = _listed([f"{name} ({signed(gain)})" for name, gain in lower.items()])
    return [f"- A mistake need not flatter; in the mean these lower the number: {named}."]


def _listed(parts: list[str], *, most: int = MOST) -> str:
    more = f" and {len(parts) - most} more" if len(parts) > most else ""
    return ", ".join(parts[:most]) + more


def _large(text: str) -> str:
    return text[:1].upper() + text[1:]


def explained(group: str) -> str:
    """The mistakes of a group of `lmmoe.pitfalls.GROUPS` as a list: what is wrong, who says so."""
    return "\n".join(
        f"- **{one.number}. {_large(one.title)}.** {one.wrong} *({one.source})*"
        for one in MISTAKES
        if one.group == group
    )


def checklist(made: pd.DataFrame) -> str:
    """What to ask of a paper's table, the costliest question first, with what it is worth here."""
    worth = _means(made) if len(made) else pd.Series(dtype=float)
    place = {name: number for number, name in enumerate(worth.index)}
    ordered = sorted(MISTAKES, key=lambda one: place.get(one.title, len(place)))
    lines = [f"1. {one.ask}{_worth(made, one)}" for one in ordered]
    return "\n".join(lines)


def _worth(made: pd.DataFrame, one: Mistake) -> str:
    part = made[made["mistake"] == one.title]
    shown = part[part["detector"].isin((SUBJECT, CHANCE))]
    if shown.empty:
        return ""
    gains = ", ".join(f"{title(row.detector)} {signed(row.gain)}" for row in shown.itertuples())
    return f" *({_large(one.title)}: {gains})*"


def facts(table: pd.DataFrame, dataset: str) -> str:
    """What the data show by themselves (`Measured.facts`), as Markdown."""
    if table.empty:
        return NOTHING
    lines = [
        f"- The first event of any entity begins at row {table['first_event'].min():.0f} of its "
        "test half: zeros before it can cost nothing.",
        f"- The longest tenth of an entity's events holds {table['longest_tenth'].mean():.0%} of "
        f"its anomalous rows in the mean ({table['longest_tenth'].min():.0%} to "
        f"{table['longest_tenth'].max():.0%}); the median event has "
        f"{table['median_length'].median():.0f} rows.",
    ]
    train, test = table["train_ends_at_1"].mean(), table["test_ends_at_1"].mean()
    if max(train, test) > 0.1:  # values that were brought to 0..1 before they were published
        lines.append(
            f"- The highest value is exactly 1 in {train:.0%} of the channels' training halves and "
            f"in {test:.0%} of the test halves, which suggests that whoever scaled these data "
            f"before they were published {'saw' if test > 0.1 else 'did not see'} the test half."
        )
    return "\n".join(lines + (_published() if dataset == "smd" else []))


def _published() -> list[str]:
    """What the study's own results file shows without any run."""
    results = study_file()
    same = [f"{one} and {other}" for one, other in twins(results)]
    alike = f"these detectors have the same results on every machine: {_listed(same)}"
    return [
        f"- Of the {len(KINDS) * len(results)} F1s in the study's own results, "
        f"{inconsistent(results)} are not 2PR/(P+R) of their precision and recall; "
        f"{alike if same else 'no two detectors have the same results on every machine'}."
    ]


def failed(failures: list[str]) -> str:
    """What could not be measured (`Measured.failures`); a failure is in no number."""
    if not failures:
        return "Every run and every experiment succeeded."
    shown = [f"- {text}" for text in failures[:MOST]]
    more = [f"- and {len(failures) - MOST} more"] if len(failures) > MOST else []
    return "\n".join(["Failed, and in no number:", "", *shown, *more])


def amad(table: pd.DataFrame) -> str:
    """What mending each of AMAD's mistakes changes (`lmmoe.tables.pitfalls.amad`)."""
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
