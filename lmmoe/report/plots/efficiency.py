"""Pictures of cost: what detectors take, how near to the hardware's limit, how cost grows."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from lmmoe.report.efficiency.prices import HOURS, Prices
from lmmoe.report.efficiency.roofline import SCORING, TRAIN, WHOLE
from lmmoe.report.plots.style import canvas, colour, family_legend, named_ticks, note, styled, title

GREY = "#9A9A9A"
# Each panel of `costs`: from a column to another, what the axis says, and the factor to its unit.
PANELS = (
    (("train_seconds",), "train (s)", 1),
    (("latency_p50_ms", "latency_p99_ms"), "one row, median\nto 99 % (ms)", 1),
    (
        ("rows_per_second_1", "rows_per_second_16", "rows_per_second_256", "rows_per_second_4096"),
        "rows a second, calls\nof 1, 16, 256, 4,096",
        1,
    ),
    (("train_peak_mb",), "memory to\ntrain (MB)", 1),
    (("multiply_adds",), "multiply-adds\na row", 1),
    (("learned_bytes",), "learned (kB)", 1e-3),
)


@styled
def costs(table: pd.DataFrame) -> Figure:
    """Every measure of cost, a panel each, every detector a line; cheapest to train on top.

    ``table`` is `lmmoe.report.efficiency.table`. A gap: not defined, or not measured.
    """
    known = table[table["error"].isna()]
    if known.empty:
        return note("No detector could be measured.")
    order = known.sort_values("train_seconds", ascending=False, kind="stable")
    figure, axes = canvas(
        1, width=10.5, height=1.5 + 0.2 * len(order), ncols=len(PANELS), sharey=True
    )
    for ax, (columns, label, factor) in zip(axes, PANELS, strict=True):
        values = factor * order[list(columns)].apply(pd.to_numeric).to_numpy(float)
        _dots(ax, values, list(order.index))
        ax.set_xlabel(label, fontsize=8)
        _decades(ax)
    axes[0].set_title("what each detector costs (log scales)")
    named_ticks(axes[0], list(order.index), fontsize=7)
    axes[0].set_ylim(-0.7, len(order) - 0.3)
    family_legend(figure, order.index, loc="outside lower center", ncols=5)
    return figure


def _dots(ax: Axes, values: np.ndarray, names: Sequence[str]) -> None:
    """A dot for each value, the first filled; a line joins those of one detector."""
    values = np.where(values > 0, values, np.nan)  # a log axis has no 0
    for level, (name, line) in enumerate(zip(names, values, strict=True)):
        own = colour(name)
        ax.axhline(level, color="#EEEEEE", lw=0.6, zorder=0)
        ax.plot(line, np.full(len(line), level), color=own, lw=1.4, alpha=0.45, zorder=1)
        size = 34 if name == "LightMMoE" else 16
        ax.scatter(line[:1], [level], color=own, s=size, zorder=3)
        ax.scatter(line[1:], [level] * (len(line) - 1), color="white", edgecolor=own, s=9, zorder=2)


def _decades(ax: Axes, axis: str = "x") -> None:
    """A logarithmic axis with few, short labels: 10k, 1M."""
    getattr(ax, f"set_{axis}scale")("log")
    own = getattr(ax, f"{axis}axis")
    own.set_major_locator(LogLocator(numticks=5))
    own.set_major_formatter(FuncFormatter(_short))
    own.set_minor_formatter(NullFormatter())
    own.set_minor_locator(NullLocator())
    ax.tick_params(axis=axis, labelsize=7)


def _short(value: float, _: int | None = None) -> str:
    """Write 0.01, 1, 10k, 1M."""
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


WORKS = {
    SCORING: ("o", "#0072B2", "scoring, the network alone"),
    WHOLE: ("s", "#56B4E9", "scoring, from raw rows"),
    TRAIN: ("^", "#D55E00", "training"),
}


@styled
def roofline(points: pd.DataFrame, limits: pd.DataFrame) -> Figure:
    """LightMMoE under the roof that bandwidth and arithmetic set, and how far below it.

    ``points`` and ``limits`` are those of `report.efficiency.limits`. Left: rate against operations
    per byte of the least traffic, a point for each batch. Right: times the least possible time.
    """
    figure, (left, right) = canvas(1, width=10.5, height=4.4, ncols=2)
    _roof(left, points, limits)
    for work, (marker, own, label) in WORKS.items():
        part = points.loc[work]
        look = {"marker": marker, "color": own, "ms": 4.5, "lw": 1}
        left.plot(part["intensity"], part["gflops"], **look)
        right.plot(part.index, part["times_bound"], label=label, **look)
    left.set_ylim(points["gflops"].min() / 2, limits["gflops"].max() * 2)
    _batches(left, points.loc[SCORING])
    left.set(
        xlabel="operations per byte that must move",
        ylabel="GFLOP/s on one thread",
        title="LightMMoE under the processor's roof",
    )
    right.axhline(1, color=GREY, lw=1)
    right.text(
        points.index.get_level_values("batch").max(),
        1.04,
        "the limit",
        ha="right",
        va="bottom",
        fontsize=7,
        color="#666666",
    )
    right.set(
        xscale="log",
        yscale="log",
        xlabel="rows in a call (log scale)",
        ylabel="times the least possible time (log scale)",
        title="how far from the limit",
    )
    right.set_xticks(sorted(points.index.unique("batch")))
    for own in (right.xaxis, right.yaxis):
        own.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        own.set_minor_formatter(NullFormatter())
    right.set_yticks([t for t in (1, 2, 5, 10, 20, 50, 100) if t <= right.get_ylim()[1]])
    right.grid(alpha=0.25)
    right.legend(fontsize=8)
    return figure


def _roof(ax: Axes, points: pd.DataFrame, limits: pd.DataFrame) -> None:
    """The lowest of peak rate and bandwidth times intensity, for each size of memory."""
    peak = limits["gflops"].max()
    span = points["intensity"].min() / 2, points["intensity"].max() * 2
    reads = limits[limits["limit"] == "sgemv"]
    shades = ("#333333", "#777777", "#BBBBBB")
    names = ("weights", "weights of a training step", "more than any cache")
    for (_, line), shade, name in zip(reads.iterrows(), shades, names, strict=True):
        rate = line["gigabytes_per_second"]
        x = np.array([span[0], peak / rate, span[1]])
        label = f"{rate:.0f} GB/s: {name}, {line['megabytes']:.3g} MB"
        ax.plot(x, np.minimum(peak, rate * x), color=shade, lw=1.2, label=label, zorder=0)
    ax.text(span[1], peak * 1.06, f"sgemm: {peak:.0f} GFLOP/s", ha="right", fontsize=8)
    ax.set(xscale="log", yscale="log")
    ax.legend(fontsize=7, loc="lower right", title="read at", title_fontsize=7)
    ax.grid(alpha=0.25)


def _batches(ax: Axes, part: pd.DataFrame) -> None:
    for batch in (part.index.min(), part.index.max()):
        line = part.loc[batch]
        place = {"xytext": (0, -11), "textcoords": "offset points"}
        where = (line["intensity"], line["gflops"])
        ax.annotate(f"batch {batch:,}", where, fontsize=7, ha="center", va="center", **place)


LINES = ("-", "--", ":", "-.")
MEASURED = {"train_seconds": "train (s)", "score_seconds": "score (s)"}
OF_AXIS = {
    "channels": "channels",
    "window": "rows in the window",
    "experts": "experts",
    "rows": "rows",
    "entities": "entities",
}


@styled
def growth(points: pd.DataFrame, laws: pd.DataFrame) -> Figure:
    """Training and scoring time along each axis, with the exponent of its upper half.

    ``points`` and ``laws`` are those of `lmmoe.report.efficiency.growth`.
    """
    axes_shown = list(points["axis"].unique())
    names = list(points["detector"].unique())
    figure, axes = canvas(
        2, width=11, height=5.4, ncols=len(axes_shown), squeeze=False, sharey="row"
    )
    for row, (measure, label) in enumerate(MEASURED.items()):
        for ax, axis in zip(axes[row], axes_shown, strict=True):
            for name, style in zip(names, LINES, strict=False):
                part = points[(points["axis"] == axis) & (points["detector"] == name)]
                if len(part):
                    law = laws.loc[(axis, name, measure)]
                    text = f"{law['upper']:.2f}"
                    look = {"color": colour(name), "ls": style, "marker": ".", "ms": 4}
                    ax.plot(part["value"], part[measure], label=text, **look)
            _decades(ax, "y")
            _sizes(ax, points.loc[points["axis"] == axis, "value"])
            ax.legend(fontsize=7, handlelength=1.8, title="exponent", title_fontsize=6.5)
            ax.grid(alpha=0.2)
            if row:
                ax.set_xlabel(OF_AXIS[axis])
        axes[row][0].set_ylabel(label)
    axes[0][0].set_title("how cost grows (log scales; exponent of the upper half)")
    handles = [
        Line2D([], [], color=colour(name), ls=style, label=title(name))
        for name, style in zip(names, LINES, strict=False)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(names), fontsize=8)
    return figure


def _sizes(ax: Axes, values: pd.Series) -> None:
    ax.set_xscale("log")
    sizes = sorted(values.unique())
    ax.set_xticks(sizes[:: 1 if len(sizes) < 6 else 2])
    ax.xaxis.set_major_formatter(FuncFormatter(_short))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.tick_params(axis="x", labelsize=7)


@styled
def fleet(found: pd.DataFrame, prices: Prices) -> Figure:
    """Cores that a fleet keeps busy, and what they cost a year, for each detector.

    ``found`` is `lmmoe.report.efficiency.fleet`.
    """
    known = found.dropna(subset=["a_year"])[::-1]
    if known.empty:
        return note("No detector could be measured.")
    figure, ax = canvas(width=8.5, height=1.9 + 0.21 * len(known))
    marks = {
        "cores_row": ("o", "filled", "score each row as it comes"),
        "cores_batch": ("o", "hollow", "score 256 rows by a call"),
        "cores_training": ("|", "filled", f"train every {prices.retrain_days:g} days"),
    }
    for level, (name, line) in enumerate(known.iterrows()):
        own = colour(name)
        ax.axhline(level, color="#EEEEEE", lw=0.6, zorder=0)
        for column, (marker, fill, _) in marks.items():
            face = own if fill == "filled" else "white"
            size = 60 if marker == "|" else 24
            edge = {} if marker == "|" else {"edgecolor": own}
            ax.scatter(
                line[column], level, marker=marker, c=own if marker == "|" else face, s=size, **edge
            )
    _decades(ax)
    ax.set(
        xlabel="processor cores in full use (log scale)",
        title=f"{prices.machines:,} machines, a row of each every {prices.seconds:g} s",
        ylim=(-0.7, len(known) - 0.3),
    )
    named_ticks(ax, list(known.index), fontsize=7)
    year = HOURS * prices.core_hour
    money = ax.secondary_xaxis("top", functions=(lambda x: x * year, lambda x: x / year))
    money.set_xscale("log")
    money.xaxis.set_major_formatter(FuncFormatter(_short))
    money.set_xlabel(f"a year, at {prices.core_hour:g} for a core and hour", fontsize=8)
    money.tick_params(labelsize=7)
    more = [
        Line2D(
            [],
            [],
            ls="",
            marker=m,
            color="#444444",
            markerfacecolor="#444444" if fill == "filled" else "white",
            label=text,
            ms=5,
        )
        for m, fill, text in marks.values()
    ]
    family_legend(figure, known.index, more=more, loc="outside lower center", ncols=4)
    return figure
