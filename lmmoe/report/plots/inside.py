"""Pictures of what is inside a fitted LightMMoE (`lmmoe.report.ablation.inside`)."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from lmmoe.data import Series
from lmmoe.data.series import Floats
from lmmoe.report.plots.ablation import ratio_axis
from lmmoe.report.plots.style import canvas, colour, note, shade_events, styled, time_axis

# Okabe and Ito's colours, in turn.
EXPERTS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#7F7F7F")
TRAINED = colour("LightMMoE")


@styled
def gates_before_and_after(start: Floats, trained: Floats) -> Figure:
    """Every weight ``(n,)`` of the gates after training against the random one it began with."""
    if not len(start):
        return note("This gate has no weights.")
    figure, ax = canvas(width=6, height=4.6)
    top = float(np.abs([start, trained]).max()) * 1.05
    ax.plot([-top, top], [-top, top], color="#999999", lw=0.8, label="not moved")
    ax.scatter(start, trained, s=5, alpha=0.35, lw=0, color=TRAINED)
    likeness = np.corrcoef(start, trained)[0, 1]
    ax.set(xlim=(-top, top), ylim=(-top, top), aspect="equal")
    ax.set(xlabel="weight drawn at random", ylabel="weight after training")
    ax.set_title(f"the gates' weights, drawn and trained (correlation {likeness:.3f})")
    ax.legend(loc="upper left")
    return figure


@styled
def gates_over_time(
    series: Series,
    shares: Floats,
    undecided: Floats,
    channel: int,
    event: tuple[int, int],
    *,
    around: int = 60,
) -> Figure:
    """One channel around one event: its values, its experts' shares, and all gates' entropy.

    ``shares`` ``(t, c, e)`` and ``undecided`` ``(t,)`` belong to the last rows of the test half.
    """
    first = len(series.test) - len(shares)
    start = max(event[0] - around, first)
    stop = min(event[1] + around, len(series.test))
    time, unit = time_axis(series, np.arange(start, stop))
    figure, axes = canvas(3, width=9, height=4.4, sharex=True, height_ratios=[1, 1.4, 0.8])
    axes[0].plot(time, series.test[start:stop, channel], color="#37474F", lw=0.9)
    axes[0].set_ylabel(series.channels[channel])
    shown = shares[start - first : stop - first, channel].T
    labels = [f"expert {number + 1}" for number in range(len(shown))]
    axes[1].stackplot(
        time, shown, colors=EXPERTS[: len(shown)], labels=labels, lw=0, antialiased=False
    )
    axes[1].set(ylabel="share", ylim=(0, 1))
    axes[1].legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=7)
    axes[2].plot(time, undecided[start - first : stop - first], color="#37474F", lw=0.9)
    axes[2].set(ylabel="entropy", ylim=(0, 1), xlabel=unit)
    for ax in (axes[0], axes[2]):
        shade_events(ax, series, start=start, stop=stop)
    axes[0].margins(x=0)
    axes[0].set_title("one channel's gate from minute to minute, and how undecided all gates are")
    return figure


@styled
def expert_use(before: Floats, after: Floats, at_events: Floats, channels: Sequence[str]) -> Figure:
    """Mean share of each expert in each channel, ``(c, e)`` each: at the start, trained, at events.

    The last is the change at labelled rows; NaN where there are none.
    """
    parts = {
        "random weights": (before, "crest", 0, 1),
        "trained": (after, "crest", 0, 1),
        "trained: change at events": (at_events, "RdBu", -0.5, 0.5),
    }
    figure, axes = canvas(3, width=10, height=1.2 + 0.32 * 3 * before.shape[1], sharex=True)
    for ax, (name, (shares, shades, low, high)) in zip(axes, parts.items(), strict=True):
        names = [f"expert {number + 1}" for number in range(shares.shape[1])]
        bar = {"label": "mean share" if low == 0 else "change"}
        sns.heatmap(
            shares.T, ax=ax, cmap=shades, vmin=low, vmax=high, yticklabels=names, cbar_kws=bar
        )
        ax.set_facecolor("#E0E0E0")
        ax.tick_params(axis="y", rotation=0, length=0, labelsize=7)
        ax.tick_params(axis="x", length=0)
        ax.set_title(name, fontsize=9)
    axes[-1].set_xticks(np.arange(len(channels)) + 0.5, channels, rotation=90, fontsize=6)
    figure.suptitle(
        "which channel uses which expert", fontsize=10, weight="bold", x=0.01, ha="left"
    )
    return figure


@styled
def disturbances(table: pd.DataFrame) -> Figure:
    """Forecast errors when a part of a fitted network does another part's work.

    ``table`` has a row per entity and a column per disturbance (`report.ablation.inside`); a dot an
    entity, the bar their geometric mean. The last value's error is 1.
    """
    if table.dropna(how="all").empty:
        return note("No fitted model to look into.")
    names = list(table)[::-1]
    figure, ax = canvas(width=8, height=1.1 + 0.34 * len(names))
    for level, name in enumerate(names):
        values = table[name].dropna()
        ax.scatter(values, [level] * len(values), s=12, alpha=0.4, lw=0, color=TRAINED)
        middle = float(np.exp(np.log(values).mean()))
        ax.scatter(middle, level, marker="|", s=190, color=TRAINED)
        ax.annotate(
            f"{middle:.2f}",
            (1.01, level),
            xycoords=ax.get_yaxis_transform(),
            va="center",
            fontsize=7.5,
        )
    ax.axvline(1, color="#333333", lw=0.8, ls=":")
    ratio_axis(ax)
    ax.set_yticks(range(len(names)), names)
    ax.set(
        xlabel="forecast error on held-out rows (dotted: the last value repeated)",
        ylim=(-0.6, len(names) - 0.4),
    )
    ax.set_title("what the trained network needs from each part (right: geometric mean)")
    return figure


@styled
def expert_similarity(matrices: dict[str, Floats]) -> Figure:
    """Similarity of what the experts give, ``(e, e)`` each: linear CKA, 1 is the same."""
    figure, axes = canvas(width=1 + 3 * len(matrices), height=3, ncols=len(matrices), squeeze=False)
    for ax, (name, matrix) in zip(axes[0], matrices.items(), strict=True):
        names = range(1, len(matrix) + 1)
        look = {"cmap": "crest", "vmin": 0, "vmax": 1, "square": True, "cbar": False}
        small = {"size": 8 if len(matrix) <= 8 else 6}
        sns.heatmap(
            matrix,
            ax=ax,
            annot=True,
            fmt=".2f",
            annot_kws=small,
            xticklabels=names,
            yticklabels=names,
            **look,
        )
        ax.tick_params(length=0, rotation=0)
        ax.set(title=name, xlabel="expert", ylabel="expert")
    return figure


@styled
def listening(
    heard: Floats, without_gates: Floats, errors: Floats, channels: Sequence[str]
) -> Figure:
    """What each channel's forecast listens to, ``(c, c)`` each, and how good it is ``(c,)``.

    The share of the derivative by channel of the past, rows sum to 1: as the network is, and with
    the gates' shares held. Right: the forecast error over the last value's.
    """
    size = len(channels)
    figure, axes = canvas(
        width=11,
        height=max(2.8, 1.3 + 0.105 * size),
        ncols=3,
        sharey=True,
        width_ratios=[1.15, 1.15, 0.6],
    )
    parts = {"what a forecast listens to": heard, "if the gates are held still": without_gates}
    for ax, (name, shares) in zip(axes, parts.items(), strict=False):
        image = ax.imshow(shares, cmap="magma_r", vmin=0, vmax=0.5)
        ax.set_xticks(range(size), channels, rotation=90, fontsize=5)
        ax.set(xlabel="past of", title=f"{name}\n(its own channel: {np.diag(shares).mean():.0%})")
    axes[0].set_yticks(range(size), channels, fontsize=5)
    axes[0].set_ylabel("forecast of")
    figure.colorbar(image, ax=axes[:2], label="share", shrink=0.6, pad=0.01)
    shades = np.where(errors < 1, TRAINED, "#D55E00")
    axes[2].hlines(range(size), 1, errors, color=shades, lw=2)
    axes[2].scatter(errors, range(size), color=shades, s=12, zorder=3)
    axes[2].axvline(1, color="#333333", lw=0.8, ls=":")
    ratio_axis(axes[2])
    axes[2].set(xlabel="error over the last value's", title="and how good it is\n(left: better)")
    return figure


@styled
def tower_likeness(matrices: dict[str, Floats], channels: Sequence[str]) -> Figure:
    """How alike channels' towers read the mixture, cosines ``(c, c)`` each, in one order.

    The order is that of the last matrix's strongest direction, so that groups stand out.
    """
    last = np.nan_to_num(list(matrices.values())[-1])
    order = np.argsort(np.linalg.eigh(last)[1][:, -1])
    size = len(channels)
    height = max(2.8, 1.3 + 0.105 * size)
    figure, axes = canvas(width=9, height=height, ncols=len(matrices), squeeze=False, sharey=True)
    for ax, (name, matrix) in zip(axes[0], matrices.items(), strict=True):
        image = ax.imshow(matrix[np.ix_(order, order)], cmap="RdBu", vmin=-1, vmax=1)
        pairs = matrix[np.triu_indices(size, 1)]
        known = pairs[~np.isnan(pairs)]
        between = f" (mean of pairs: {known.mean():.2f})" if len(known) else ""
        ax.set_xticks(range(size), [channels[one] for one in order], rotation=90, fontsize=5)
        ax.set(title=f"{name}{between}", xlabel="tower of")
    axes[0, 0].set_yticks(range(size), [channels[one] for one in order], fontsize=5)
    axes[0, 0].set_ylabel("tower of")
    figure.colorbar(image, ax=axes, label="cosine", shrink=0.6, pad=0.01)
    return figure
