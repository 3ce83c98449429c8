"""The ablation's findings as sentences, every number taken from its tables."""

import numpy as np
import pandas as pd

from lmmoe.report.ablation.variants import FULL, YARDSTICKS, by_hand, variants
from lmmoe.report.params import Profile
from lmmoe.report.plots.style import title

ALPHA = 0.05
SMALL = 0.02  # of average precision: less than this is taken as no difference that matters
DETECTION = "average_precision"
SHOWN = 6  # names in one sentence
ENOUGH = 6  # entities for Wilcoxon's test to be able to reach 5 %


def findings(
    table: pd.DataFrame,
    dataset: str,
    *,
    printed: pd.DataFrame | None = None,
    opinions: pd.DataFrame | None = None,
) -> str:
    """What matters, what does not and what it costs, as Markdown.

    The arguments are tables of `report.tables.ablation`. Point-adjusted numbers stand beside those
    of random scores, or not at all.
    """
    known = table[table[f"{DETECTION}_difference"].notna()]
    if known.empty:
        return f"On {dataset}: no variant with labelled events to judge it by."
    own = known[known["group"] != YARDSTICKS]
    enough = own["entities"].max() >= ENOUGH
    lines = [
        *_head(table, own, dataset),
        *(_tested(own) if enough else _untested(own)),
        *_printed(printed),
        *_forecasts(own),
        *_costs(table, own),
        *_yardsticks(known),
        *_opinions(opinions),
        *_failed(table),
        f"- {int((own['seeds'] == 1).sum())} of the variants ran with one seed, and entities of "
        "one data set are not independent: intervals and p-values are too hopeful.",
    ]
    return "\n".join(lines)


def _head(table: pd.DataFrame, own: pd.DataFrame, dataset: str) -> list[str]:
    full = table.loc[FULL]
    entities, seeds = _range(own["entities"], "entit", "y", "ies"), _range(own["seeds"], "seed")
    behind = _range(full[["entities"]], "entit", "y", "ies"), _range(full[["seeds"]], "seed")
    error = full["forecast_error"]
    forecast = "" if np.isnan(error) else f", forecast error {error:.2f} of the last value's"
    return [
        f"{len(own)} variants against the full LightMMoE on {dataset}, each on {entities} with "
        f"{seeds}. The full model on {behind[0]} with {behind[1]}: average precision "
        f"{full[DETECTION]:.3f}{forecast}.",
        "",
    ]


def _range(values: pd.Series, word: str, one: str = "", more: str = "s") -> str:
    """Write "1 seed", "3 seeds" or "1 to 3 seeds"."""
    low, high = int(values.min()), int(values.max())
    count = str(low) if low == high else f"{low} to {high}"
    return f"{count} {word}{one if high == 1 else more}"


def _tested(own: pd.DataFrame) -> list[str]:
    """What differs, and what does not."""
    return [
        *_family(own[own["claimed"]], "that the study claims something about"),
        *_family(own[~own["claimed"]], "that it does not" if own["claimed"].any() else ""),
        *_alike(own),
    ]


def _untested(own: pd.DataFrame) -> list[str]:
    """Differences that neither a test nor an interval can weigh."""
    largest = own[f"{DETECTION}_difference"].abs().nlargest(SHOWN).index
    texts = [f"{title(n)} {own.loc[n, f'{DETECTION}_difference']:+.3f}" for n in largest]
    return [
        f"- Fewer than {ENOUGH} entities: no test can reach 5 %, and intervals mean little. The "
        f"largest differences in average precision: {', '.join(texts)}."
    ]


def _family(part: pd.DataFrame, which: str) -> list[str]:
    """What one family of comparisons shows: after Holm's correction, and by the intervals alone."""
    if part.empty:
        return []
    sure = part[part["holm_p"] < ALPHA]
    hints = part[_leaves_out(part) & ~part.index.isin(sure.index)]
    text = f"- Of {len(part)} variants{f' {which}' if which else ''}, "
    if len(sure):
        verb = "differs" if len(sure) == 1 else "differ"
        text += f"**{len(sure)}** {verb} after Holm's correction (5 %): {_named(sure)}. "
    else:
        text += (
            "**none** differs after Holm's correction (5 %; the smallest corrected p is "
            f"{part['holm_p'].min():.2f}{_powerless(part)}). "
        )
    if hints.empty:
        return [f"{text}No other interval leaves 0 out."]
    rest = part.drop(index=sure.index)["entities"]
    chance = sum(missing(int(entities)) for entities in rest)
    verb = "leaves" if len(hints) == 1 else "leave"
    return [
        f"{text}The 95 % interval of {len(hints)} more {verb} 0 out (by chance alone about "
        f"{chance:.1f} would): {_named(hints)}."
    ]


def missing(entities: int) -> float:
    """How often a 95 % bootstrap interval of the mean of so few normal differences leaves out 0.

    Bootstrap intervals take the deviation of the ``n`` values themselves for the truth, so they are
    narrower than Student's by 1.96 sqrt((n - 1) / n) against his quantile of n - 1 degrees of
    freedom (Hesterberg, "What Teachers Should Know About the Bootstrap", The American Statistician
    2015: narrowness bias): more than 5 % of them miss, of nine values 10 %.
    """
    from scipy.stats import norm, t

    if entities < 2:
        return 1.0
    width = norm.ppf(1 - ALPHA / 2) * np.sqrt((entities - 1) / entities)
    return float(2 * t.sf(width, entities - 1))


def _leaves_out(part: pd.DataFrame) -> pd.Series:
    """Whether an interval leaves the full model out."""
    return (part[f"{DETECTION}_low"] > 0) | (part[f"{DETECTION}_high"] < 0)


def _powerless(part: pd.DataFrame) -> str:
    """Say so where the entities are too few for any of the comparisons to survive."""
    most = int(part["entities"].max())
    least = min(1.0, 2.0 ** (1 - most) * len(part))
    return f"; with {most} entities none could be below {least:.2f}" if least >= ALPHA else ""


def _named(part: pd.DataFrame) -> str:
    """Variants with their differences and intervals, the largest first."""
    difference = part[f"{DETECTION}_difference"]
    order = part.loc[difference.abs().sort_values(ascending=False, kind="stable").index]
    texts = [f"{title(name)} {_difference(line)}" for name, line in order[:SHOWN].iterrows()]
    more = f" and {len(order) - SHOWN} more" if len(order) > SHOWN else ""
    return ", ".join(texts) + more


def _difference(line: pd.Series) -> str:
    middle, low, high = (line[f"{DETECTION}_{end}"] for end in ("difference", "low", "high"))
    bounds = "" if np.isnan(low) else f" ({low:+.3f} to {high:+.3f})"
    return f"{middle:+.3f}{bounds}"


def _alike(own: pd.DataFrame) -> list[str]:
    """What can be changed without a difference that matters."""
    alike = own[(own[f"{DETECTION}_low"] > -SMALL) & (own[f"{DETECTION}_high"] < SMALL)]
    if alike.empty:
        return []
    names = [title(name) for name in alike.index[: 2 * SHOWN]]
    more = f" and {len(alike) - len(names)} more" if len(alike) > len(names) else ""
    return [f"- No difference beyond {SMALL} of average precision: {', '.join(names)}{more}."]


def _printed(printed: pd.DataFrame | None) -> list[str]:
    """What the study says that its parts are worth, and what they are here."""
    if printed is None or "random" not in printed.index or np.isnan(printed.loc["random", "ours"]):
        return []
    texts = []
    for name, line in printed.drop(index=["random", FULL], errors="ignore").iterrows():
        said = [
            f"{'expects' if kind == 'expected' else 'prints'} {line[f'{kind}_difference']:+.1f}"
            for kind in ("expected", "measured")
            if not np.isnan(line[f"{kind}_difference"])
        ]
        if said and not np.isnan(line["ours_difference"]):
            bounds = f" ({line['ours_low']:+.1f} to {line['ours_high']:+.1f})"
            ours = f"{line['ours_difference']:+.1f}{'' if np.isnan(line['ours_low']) else bounds}"
            texts.append(f"{title(name)}: it {' and '.join(said)}, we find {ours}")
    if not texts:
        return []
    return [
        "- Point F1 (PA) against the full model, in points, as the study says and here (random "
        f"scores reach {printed.loc['random', 'ours']:.1f} %): {'; '.join(texts)}."
    ]


def _forecasts(own: pd.DataFrame) -> list[str]:
    """Whether the variants that forecast better detect better; the full model is one of them.

    Not those that forecast further ahead, which is another task.
    """
    same = own[own["group"] != "horizon"]
    ratio = same["forecast_error_ratio"].dropna()
    both = same.loc[ratio.index, f"{DETECTION}_difference"]
    ratio, both = (pd.concat([one, pd.Series({FULL: at})]) for one, at in ((ratio, 1), (both, 0)))
    if len(ratio) < 4 or ratio.nunique() < 2 or both.nunique() < 2:
        return []
    likeness = ratio.rank().corr(both.rank())
    best, worst = ratio.idxmin(), ratio.idxmax()
    return [
        f"- Forecasting best: {_of_full(best, ratio)}; worst: {_of_full(worst, ratio)}. Rank "
        f"correlation of forecast error with average precision over the variants: {likeness:+.2f} "
        "(better forecasts, better detection would be -1)."
    ]


def _of_full(name: str, ratio: pd.Series) -> str:
    if name == FULL:
        return "the full model"
    return f"{title(name)} ({ratio[name]:.2f} of the full model's error)"


def _costs(table: pd.DataFrame, own: pd.DataFrame) -> list[str]:
    """The smallest variant that is not worse, and the dearest that brings nothing."""
    full = table.loc[FULL]
    sizes = own.loc[own[f"{DETECTION}_high"] > 0, "parameters"].dropna()
    lines = []
    if len(sizes) and sizes.min() < full["parameters"]:
        name = sizes.idxmin()
        share = own.loc[name, "train_ratio"]
        lines.append(
            f"- The smallest whose interval does not lie below 0: {title(name)}, "
            f"{sizes[name]:,.0f} parameters ({sizes[name] / full['parameters']:.0%} of the full "
            f"model's), {share:.0%} of its training time, {_difference(own.loc[name])}."
        )
    seconds = own["train_ratio"]
    dear = own[(seconds > 2) & ~(own[f"{DETECTION}_low"] > 0)]
    if len(dear):
        order = seconds[dear.index].sort_values(ascending=False)
        texts = [f"{title(name)} ({share:.1f} times)" for name, share in order[:SHOWN].items()]
        lines.append(
            f"- Paid for without a gain that the interval shows, in training time: "
            f"{', '.join(texts)}."
        )
    slow = [title(name) for name, line in own.iterrows() if not by_hand(line["settings"])]
    if slow and len(slow) < len(own):
        lines.append(
            f"- Training times compare programs too: {', '.join(slow)} {_take(slow)} the steps of "
            "autograd, the others the faster ones written by hand."
        )
    return lines


def _take(names: list[str]) -> str:
    return "takes" if len(names) == 1 else "take"


def _yardsticks(known: pd.DataFrame) -> list[str]:
    """What needs no such model."""
    shown = known[(known["group"] == YARDSTICKS) & (known.index != "random")]
    texts = [f"{title(name)} {_difference(line)}" for name, line in shown.iterrows()]
    return [f"- Yardsticks against the full model: {', '.join(texts)}."] if texts else []


def _opinions(table: pd.DataFrame | None) -> list[str]:
    """Whether the other data sets say the same."""
    if table is None:
        return []
    names = [c.removesuffix("_difference") for c in table if c.endswith("_difference")]
    first, *others = (table[f"{name}_difference"] for name in names)
    texts = []
    for name, other in zip(names[1:], others, strict=True):
        both = pd.concat([first, other], axis=1).dropna()
        if len(both) > 2:
            likeness = both.iloc[:, 0].rank().corr(both.iloc[:, 1].rank())
            same = (np.sign(both.iloc[:, 0]) == np.sign(both.iloc[:, 1])).mean()
            texts.append(f"{name} {likeness:+.2f} (the same sign for {same:.0%})")
    if not texts:
        return []
    return [f"- Rank correlation of the differences with those on other data: {', '.join(texts)}."]


def _failed(table: pd.DataFrame) -> list[str]:
    bad = table.loc[table["failed"] > 0, "failed"]
    texts = [f"{title(name)} {count:.0f}" for name, count in bad[:SHOWN].items()]
    total = f"- Failed, and in no average: {bad.sum():.0f} runs"
    return [f"{total}, among them {', '.join(texts)}."] if len(bad) else []


def definitions(plan: Profile) -> str:
    """Every variant in words, as a Markdown table.

    What it is, whose definition that is, and what was chosen here where the definition is open.
    """
    lines = ["| group | variant | settings | what it is | defined by | chosen here |"]
    lines.append("|" + " --- |" * 6)
    for one in variants(plan):
        said = one.definition
        cells = [one.group, title(one.name), f"`{one.settings}`", *said]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
