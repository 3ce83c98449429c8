"""Pictures of the ablation. They take the tables of `lmmoe.report.tables.ablation`."""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullLocator, StrMethodFormatter

from lmmoe.report.plots.labels import label_dots
from lmmoe.report.plots.style import canvas, colour, note, styled, title

# Okabe and Ito's colours, and one more; a group has one in every figure.
GROUPS = {
    "experts": "#0072B2",
    "gate": "#009E73",
    "towers": "#CC79A7",
    "sizes": "#D55E00",
    "window": "#E69F00",
    "horizon": "#56B4E9",
    "training": "#7A5195",
    "yardsticks": "#7F7F7F",
}
UNSURE = "#B0B0B0"
FULL = {"color": "#333333", "lw": 0.8, "ls": ":"}  # where the full model stands
PLAIN = StrMethodFormatter("{x:g}")
DETECTION = [f"average_precision_{end}" for end in ("difference", "low", "high")]
FORECAST = [f"forecast_error_{end}" for end in ("ratio", "low", "high")]
SWEPT = {
    "experts": "experts",
    "shared": "share s of the common gate",
    "kernels": "kernels of an expert",
    "hidden": "hidden units of an expert",
    "tower": "hidden units of a tower",
    "window": "window (rows)",
    "horizon": "forecast horizon (rows)",
    "batch": "batch (windows)",
    "epochs": "epochs",
}
NONE = "No variant beside the full model has results: there is nothing to compare."


@styled
def differences(table: pd.DataFrame) -> Figure:
    """What every variant changes, with 95 % bootstrap intervals; grey: they hold the full model.

    Left average precision, right the forecast error on held-out rows; beside it what is behind.
    """
    known = table[table[DETECTION[0]].notna() & (table.index != "random")]
    if known.empty:
        return note(NONE)
    levels = _levels(known["group"])
    figure, (left, right) = canvas(
        width=10, height=1.3 + 0.175 * levels[-1], ncols=2, sharey=True, width_ratios=[1.4, 1]
    )
    _intervals(left, known, DETECTION, levels, neutral=0)
    left.set(xlabel="average precision: variant - full model", title="detection (right: better)")
    _intervals(right, known, FORECAST, levels, neutral=1)
    right.set(xlabel="forecast error: variant / full model", title="forecasting (left: better)")
    left.xaxis.set_major_locator(MaxNLocator(5))
    left.xaxis.set_major_formatter(PLAIN)
    if right.get_xlim()[0] > 0:
        ratio_axis(right)
    left.set_yticks(levels, [title(name) for name in known.index], fontsize=7.5)
    left.set_ylim(levels[-1] + 0.8, levels[0] - 2)
    _headings(left, known["group"], levels)
    _behind(right, known, levels)
    return figure


def _levels(groups: pd.Series) -> np.ndarray:
    """Where rows stand, with a line's room above each group."""
    starts = groups.ne(groups.shift()).cumsum()
    return np.arange(len(groups)) + 1.3 * (starts.to_numpy() - 1)


def _headings(ax: Axes, groups: pd.Series, levels: np.ndarray) -> None:
    """Name each group above its first row."""
    for group in groups.unique():
        first = levels[np.flatnonzero(groups == group)[0]]
        look = {"color": GROUPS.get(group, "#333333"), "weight": "bold", "fontsize": 8}
        place = {"transform": ax.get_yaxis_transform(), "ha": "right", "va": "center"}
        ax.text(-0.01, first - 1, group, **place, **look)


def _intervals(
    ax: Axes, table: pd.DataFrame, ends: list[str], levels: np.ndarray, *, neutral: float
) -> None:
    for level, (_, line) in zip(levels, table.iterrows(), strict=True):
        middle, low, high = line[ends].astype(float)
        shade = GROUPS.get(line["group"], "#333333") if _sure(low, high, neutral) else UNSURE
        ax.plot([low, high], [level, level], color=shade, lw=1.6, solid_capstyle="butt")
        ax.scatter(middle, level, color=shade, s=18, zorder=3)
    ax.axvline(neutral, **FULL)
    ax.grid(axis="x", alpha=0.25)
    ax.tick_params(axis="y", length=0)


def _sure(low: float, high: float, neutral: float = 0) -> bool:
    """Whether an interval leaves the full model out."""
    return low > neutral or high < neutral


def ratio_axis(ax: Axes) -> None:
    """A logarithmic x axis with a few plain numbers."""
    ax.set_xscale("log")
    low, high = ax.get_xlim()
    steps = np.array([1, 2, 5]) * 10.0 ** np.arange(-2, 4)[:, None]  # few where the range is wide
    if high < 6 * low:
        steps = np.array([0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5])
    if high < 2.2 * low:
        steps = np.array([0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.4, 1.6, 1.8, 2])
    if high < 1.3 * low:
        steps = np.arange(0.5, 2, 0.05).round(2)
    if high < 1.1 * low:
        steps = np.arange(0.5, 2, 0.02).round(2)
    ax.set_xticks([step for step in steps.flat if low <= step <= high])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(PLAIN)


def _behind(ax: Axes, table: pd.DataFrame, levels: np.ndarray) -> None:
    """Write parameters, training time (full model: 1) and counts in columns beside the rows."""
    place = {"transform": ax.get_yaxis_transform(), "va": "center", "ha": "right", "fontsize": 7}
    columns = {
        "parameters": [f"{value:,.0f}" for value in table["parameters"]],
        "time": [f"{value:.2f}" for value in table["train_ratio"]],
        "entities × seeds": [
            f"{one:.0f} × {two:.0f}"
            for one, two in zip(table["entities"], table["seeds"], strict=True)
        ],
    }
    for across, (head, texts) in zip((1.2, 1.36, 1.68), columns.items(), strict=True):
        ax.text(across, levels[0] - 1.5, head, **place)
        for level, text in zip(levels, texts, strict=True):
            ax.text(across, level, text, **place)


@styled
def sweeps(table: pd.DataFrame) -> Figure:
    """Average precision along every setting that is one number (`report.tables.ablation.sweeps`).

    Against the full model, which is the hollow dot at 0; the band is the 95 % bootstrap interval.
    """
    chosen = [name for name in SWEPT if name in set(table["setting"])]
    if not chosen:
        return note("No setting was tried at two more values than the full model's.")
    rows = -(-len(chosen) // 3)
    figure, axes = canvas(
        rows, height=0.9 + 2.0 * rows, ncols=min(3, len(chosen)), squeeze=False, sharey=True
    )
    for ax, name in zip(axes.flat, chosen, strict=False):
        part = table[table["setting"] == name]
        values = part["value"].astype(float)
        ax.fill_between(values, part["low"], part["high"], color=colour("LightMMoE"), alpha=0.18)
        ax.plot(values, part["difference"], "o-", ms=4, color=colour("LightMMoE"))
        own = values[part["difference"].eq(0) & part["low"].eq(0) & part["high"].eq(0)]
        ax.plot(own, 0 * own, "o", ms=6, mfc="white", color=colour("LightMMoE"))
        ax.axhline(0, **FULL)
        if name != "shared":
            ax.set_xscale("log", base=2)
            ax.xaxis.set_major_formatter(PLAIN)
            ax.xaxis.set_minor_locator(NullLocator())
            ax.set_xticks(values)
        ax.set_xlabel(SWEPT[name])
    for ax in axes.flat[len(chosen) :]:
        ax.axis("off")
    figure.supylabel("average precision:\nvariant - full model", fontsize=9)
    figure.suptitle("one setting at a time", fontsize=10, weight="bold", x=0.01, ha="left")
    return figure


@styled
def what_buys_detection(table: pd.DataFrame) -> Figure:
    """Average precision of the variants against how well they forecast, and against their size.

    Both relative to the full model, which stands at the cross. Without the variants that forecast
    further ahead: their error is that of another task.
    """
    known = table[table[DETECTION[0]].notna() & ~table["group"].isin(["yardsticks", "horizon"])]
    own = table.loc[table.index == "LightMMoE", "parameters"]
    if known.empty or own.empty:
        return note(NONE)
    across = {
        "forecast error: variant / full model": known[FORECAST[0]],
        "parameters: variant / full model": known["parameters"] / own.iloc[0],
    }
    figure, axes = canvas(width=10, height=4.4, ncols=2, sharey=True)
    for ax, (label, values) in zip(axes, across.items(), strict=True):
        ax.scatter(values, known[DETECTION[0]], s=24, color=known["group"].map(GROUPS), zorder=3)
        ax.axhline(0, **FULL)
        ax.axvline(1, **FULL)
        ax.set_xlabel(label)
        ratio_axis(ax)
    axes[0].set(
        ylabel="average precision: variant - full model",
        title="better forecasts, better detection?",
    )
    axes[1].set_title("larger networks, better detection?")
    present = [name for name in GROUPS if name in set(known["group"])]
    dots = {"marker": "o", "ls": "", "ms": 5}
    shown = [Line2D([], [], color=GROUPS[name], label=name, **dots) for name in present]
    figure.legend(handles=shown, loc="outside lower center", ncols=len(shown), fontsize=7)
    for ax, values in zip(axes, across.values(), strict=True):
        _extremes(ax, values, known[DETECTION[0]])
    return figure


def _extremes(ax: Axes, across: pd.Series, up: pd.Series, most: int = 4) -> None:
    """Name the dots that lie farthest out in each direction."""
    both = pd.DataFrame({"x": across, "y": up}).dropna()
    order = [both.sort_values(name).index for name in ("x", "y")]
    chosen = dict.fromkeys(name for one in order for name in (*one[:most], *one[-most:]))
    label_dots(ax, {name: tuple(both.loc[name]) for name in chosen}, size=6.5)
    for text in ax.texts:
        text.set_color("#333333")  # a variant belongs to no family of detectors


@styled
def printed_against_ours(table: pd.DataFrame) -> Figure:
    """Point F1 of the variants as the study prints it and as we find it.

    ``table`` is `report.tables.ablation.printed`'s; without random scores in it nothing is drawn.
    """
    known = table[table["ours"].notna()]
    if "random" not in known.index or len(known) < 2:
        return note("No Point F1 of ours with random scores beside it: nothing to compare.")
    names = [name for name in known.index if name != "random"][::-1]
    figure, ax = canvas(width=8, height=1.5 + 0.42 * len(names))
    looks = {
        "expected": ("#7F7F7F", "^", "printed: expected"),
        "measured": ("#D55E00", "s", 'printed: "measured"'),
        "ours": (colour("LightMMoE"), "o", "ours"),
    }
    levels = np.arange(len(names))
    for kind, (shade, mark, label) in looks.items():
        ax.scatter(known.loc[names, kind], levels, color=shade, marker=mark, s=40, label=label)
    look = {"color": colour("random"), "lw": 1.6, "label": "ours: random scores"}
    ax.axvline(known.loc["random", "ours"], **look)
    full = known["ours"].get("LightMMoE", np.nan)
    ax.axvline(full, **FULL | {"label": "ours: the full model"})
    ax.set_yticks(levels, names)
    ax.set(
        xlabel="Point F1 (PA), %", title="the study's ablation, printed and run", ylim=(-0.6, None)
    )
    ax.grid(axis="x", alpha=0.25)
    ax.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


@styled
def opinions(table: pd.DataFrame) -> Figure:
    """Differences in average precision on several data sets (`report.tables.ablation.opinions`).

    With a star: the 95 % bootstrap interval leaves 0 out. Grey: no result.
    """
    suffix = "_difference"
    every = [column for column in table if column.endswith(suffix)]
    values = table[every].dropna(how="all").dropna(how="all", axis=1).astype(float)
    values = values.rename(columns={name: name.removesuffix(suffix) for name in every})
    if values.shape[1] < 2:
        return note("These variants were not run on other data.")
    names = list(values)
    low, high = (table.loc[values.index, [f"{n}_{end}" for n in names]] for end in ("low", "high"))
    sure = (low.to_numpy() > 0) | (high.to_numpy() < 0)
    texts = values.map("{:+.3f}".format) + np.where(sure, " *", "")
    top = float(np.nanmax(np.abs(values.to_numpy())))
    figure, ax = canvas(width=2.4 + 1.3 * len(names), height=1.1 + 0.19 * len(values))
    sns.heatmap(
        values,
        ax=ax,
        cmap="RdBu",
        vmin=-top,
        vmax=top,
        annot=texts.where(values.notna(), ""),
        fmt="",
        annot_kws={"size": 7},
        cbar_kws={"label": "average precision: variant - full model"},
    )
    ax.set_facecolor("#E0E0E0")
    ax.tick_params(length=0, labelsize=7.5)
    ax.set(xlabel="", ylabel="", title="the same variants on other data")
    return figure
