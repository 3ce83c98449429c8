"""Pictures of deployment: a day that was watched, an alarm explained, what use costs and keeps."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from lmmoe.data import Series
from lmmoe.report.compression.methods import AS_IS, DESIGN, DISTILLING, HALVES, INTEGERS, PRUNING
from lmmoe.report.compression.shares import kept_shares
from lmmoe.report.deployment.first_rows import ALL, AMOUNTS, OWN, SEEN, UNSEEN
from lmmoe.report.deployment.newcomer import means
from lmmoe.report.deployment.steps import STEP
from lmmoe.report.deployment.story import Alarmed, Day
from lmmoe.report.plots.style import (
    EVENT,
    canvas,
    colour,
    log_scale,
    named_ticks,
    note,
    shade_events,
    styled,
    title,
)

GREY = "#7F7F7F"
KINDS = {
    PRUNING: ("v", "#D55E00"),
    DISTILLING: ("s", "#009E73"),
    DESIGN: ("D", "#0072B2"),
    INTEGERS: ("^", "#CC79A7"),
    HALVES: ("o", "#56B4E9"),
    AS_IS: ("*", "#000000"),
}
LINES = {
    UNSEEN: ("#0072B2", "-", "o"),
    SEEN: ("#0072B2", "--", "D"),
    OWN: ("#009E73", "-", "s"),
    "MTSExample": ("#D55E00", "-", "^"),
    "random": (GREY, ":", "x"),
}


@styled
def day(watched: Day, series: Series) -> Figure:
    """A day of live scores: the threshold, the labelled events, where alarms open and end."""
    figure, ax = canvas(height=3.2)
    hours = (np.arange(watched.start, watched.end)) / (series.rows_per_day or 1)
    ax.plot(hours, watched.scores, color=colour(watched.detector), lw=0.7)
    ax.axhline(watched.threshold, color="black", ls="--", lw=0.9)
    shade_events(ax, series, start=watched.start, stop=watched.end)
    log_scale(ax)
    top = ax.get_ylim()[1]
    for number, (first, last) in enumerate(watched.alarms):
        span = np.array([first, last + 1]) / (series.rows_per_day or 1)
        label = "alarm, from opening to its last loud row" if number == 0 else None
        ax.plot(span, [top, top], color=EVENT, lw=5, solid_capstyle="butt", label=label)
        ax.axvline(span[0], color=EVENT, lw=0.6)
    ax.set(
        xlabel="test half (days)" if series.rows_per_day else "test half (rows)",
        ylabel="live score",
        title=f"a day of {series.entity}, row by row: score, threshold (dashed), events (shaded)",
    )
    if watched.alarms:
        ax.legend(loc="lower right", fontsize=7)
    return figure


@styled
def alarm(explained: Alarmed | None) -> Figure:
    """Which channels opened an alarm, and the first of them: forecast against what came."""
    if explained is None:
        return note("No alarm opened on this day.")
    count = len(explained.traces)
    figure = Figure(figsize=(10, 0.8 + 1.15 * count))
    grid = figure.add_gridspec(count, 2, width_ratios=[1, 2.2])
    bars = figure.add_subplot(grid[:, 0])
    places = np.arange(len(explained.channels))[::-1]
    bars.barh(places, [100 * share for share in explained.shares], color="#0072B2")
    bars.set_yticks(places, explained.channels, fontsize=8)
    bars.set(xlabel="share of the score (%)", title="who opened the alarm")
    for number, trace in enumerate(explained.traces):
        ax = figure.add_subplot(grid[number, 1])
        ax.plot(explained.rows, trace.observed, color="black", lw=1, label="observed")
        ax.plot(explained.rows, trace.forecast, color="#D55E00", lw=1, label="forecast")
        ax.axvline(0, color=EVENT, lw=1)
        ax.set_ylabel(trace.channel, fontsize=7)
        if number == 0:
            ax.set_title("its first channels around the row that opened it (red line)")
            ax.legend(fontsize=7, loc="upper left", ncols=2)
        if number < count - 1:
            ax.tick_params(labelbottom=False)
        else:
            ax.set_xlabel("rows from the alarm")
    return figure


@styled
def thresholds(summary: pd.DataFrame) -> Figure:
    """Events found against false alarms a day, a point per rule and detector.

    Filled: the events in which an alarm began. The others met one that was open already, which
    tells nobody of them.
    """
    if summary.empty:
        return note("No labelled events or no days: there are no alarms to count.")
    figure, ax = canvas(height=3.8, width=7.5)
    marks = dict(zip(dict.fromkeys(summary["rule"]), "os^Dvx", strict=False))
    named = set()
    for line in summary.to_dict("records"):
        label = line["rule"] if line["rule"] not in named else None
        named.add(line["rule"])
        own, across = colour(line["detector"]), line["false_alarms_per_day"]
        low, high = 100 * line["announced"], 100 * line["found"]
        ax.plot([across, across], [low, high], color=own, lw=0.8, alpha=0.6)
        ax.plot(across, high, marks[line["rule"]], color=own, mfc="white", mew=1.6, ms=8)
        ax.plot(across, low, marks[line["rule"]], color=own, ms=8)
        ax.plot([], [], marks[line["rule"]], color=GREY, label=label)
    for name in dict.fromkeys(summary["detector"]):
        ax.plot([], [], "o", color=colour(name), label=title(name), alpha=0.6, ms=10, mew=0)
    entities = summary["entities"].max()
    ax.set_xlim(left=0)
    ax.set_ylim(0, 102)
    ax.set(
        xlabel="false alarms a machine-day",
        ylabel="events found (%)",
        title=f"what each rule for the threshold gives, {entities} entities, no labels used\n"
        "filled: an alarm began in the event; hollow: or one was open",
    )
    ax.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure


@styled
def steps(table: pd.DataFrame) -> Figure:
    """Time of a row that comes alone, and bytes of model and state, a line per detector."""
    good = table[table["error"].isna()]
    good = good.sort_values("p50_processor_ms", ascending=False, kind="stable")
    if good.empty:
        return note("No detector here has a live score.")
    figure, (left, right) = canvas(1, width=10, height=1.3 + 0.24 * len(good), ncols=2, sharey=True)
    places = np.arange(len(good))
    own = [colour(name) for name in good["detector"]]
    for place, line, paint in zip(places, good.to_dict("records"), own, strict=True):
        ends = [line["p50_processor_ms"], line["p99_processor_ms"]]
        left.plot(ends, [place] * 2, color=paint, lw=1.5, alpha=0.5)
    left.scatter(good["p50_processor_ms"], places, color=own, s=24, zorder=3)
    left.scatter(good["p99_processor_ms"], places, color="white", edgecolor=own, s=14, zorder=3)
    for column, marker, label in (("model_bytes", "s", "model"), ("state_bytes", "o", "state")):
        right.scatter(good[column] / 1000, places, color=own, marker=marker, s=20)
        right.scatter([], [], color=GREY, marker=marker, s=20, label=label)
    for ax in (left, right):
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter(FuncFormatter(_plain))
        ax.xaxis.set_minor_formatter(NullFormatter())
    named_ticks(left, list(good["detector"]), fontsize=7)
    ways = [f"{title(n)}, {w}" if w != STEP else title(n) for n, w in _pairs(good)]
    left.set_yticklabels(ways)
    left.set(
        xlabel="one row: median (filled) to 99 % (ms of processor)", title="a row that comes alone"
    )
    right.set(xlabel="kB", title="what is loaded, what a stream keeps")
    right.legend(fontsize=7)
    return figure


def _pairs(table: pd.DataFrame) -> list[tuple[str, str]]:
    return list(zip(table["detector"], table["way"], strict=True))


def _plain(value: float, _: int | None = None) -> str:
    return f"{value:g}"


@styled
def compression(table: pd.DataFrame) -> Figure:
    """What smaller models keep: average precision, and speed, against the bytes left.

    ``table`` is `lmmoe.report.compression.table.table`: a pair of panels for each base.
    """
    shares = kept_shares(table)
    bases = list(dict.fromkeys(shares["base"]))
    if not bases:
        return note("No model could be compressed.")
    figure, axes = canvas(
        len(bases), width=10, height=0.9 + 2.9 * len(bases), ncols=2, squeeze=False
    )
    for (left, right), base in zip(axes, bases, strict=True):
        own = shares[shares["base"] == base]
        _panel(left, own, "average_precision", 100)
        _panel(right, own, "speed", 1)
        chance = 100 * own.loc["random", "average_precision"]
        left.axhline(chance, color=GREY, ls=":", lw=1)
        where = left.get_yaxis_transform()  # x from 0 to 1 over the panel
        left.text(
            0.01, chance, "random scores", fontsize=7, color=GREY, va="bottom", transform=where
        )
        left.set(ylabel="average precision kept (%)", title=f"what is kept of {base}")
        left.set_ylim(bottom=0)
        right.set(ylabel=f"times the speed of {base}", title="real speed, one thread")
        right.axhline(1, color=GREY, lw=0.8)
        log_scale(right)
        for ax in (left, right):
            ax.set_xlabel(f"bytes left of {base}'s (%)")
    used = [kind for kind in KINDS if kind in set(shares["kind"])]
    marks = [
        axes[0, 0].plot([], [], KINDS[kind][0], color=KINDS[kind][1], label=kind)[0]
        for kind in used
    ]
    figure.legend(handles=marks, loc="outside lower center", ncols=6, fontsize=8)
    return figure


def _panel(ax: Axes, own: pd.DataFrame, column: str, factor: float) -> None:
    for kind, (marker, paint) in KINDS.items():
        part = own[own["kind"] == kind]
        size = 9 if kind == AS_IS else 6
        ax.plot(
            100 * part["bytes"], factor * part[column], marker, color=paint, ms=size, alpha=0.85
        )
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.xaxis.set_major_formatter(FuncFormatter(_plain))
    ax.xaxis.set_minor_formatter(NullFormatter())


@styled
def newcomers(table: pd.DataFrame) -> Figure:
    """Quality and false alarms on a machine never seen, by how much it was learned from."""
    joined = means(table)
    if joined.empty:
        return note("Too few machines of the same channels: none can be held out.")
    order = [name for name in (*AMOUNTS, ALL) if name in set(joined["learned"])]
    figure, axes = canvas(1, width=10, height=3.6, ncols=2)
    panels = (
        ("average_precision", "average precision (mean)", 1),
        ("normal_share", "normal rows in alarm (%, mean)", 100),
    )
    for ax, (column, label, factor) in zip(axes, panels, strict=True):
        for method, (paint, style, marker) in LINES.items():
            part = joined[joined["method"] == method].set_index("learned")[column].reindex(order)
            ax.plot(
                order, factor * part, style, color=paint, marker=marker, ms=5, label=title(method)
            )
        ax.set(xlabel="learned from the machine's", ylabel=label)
        ax.set_ylim(bottom=0)
    axes[0].set_title(f"a machine never seen ({joined['entities'].iloc[0]} tried)")
    axes[1].set_title("at a budget of one alarm a day")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    return figure
