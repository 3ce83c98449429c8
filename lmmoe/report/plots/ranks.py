"""The critical-difference diagram."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lmmoe.report.plots.style import canvas, colour, family_legend, note, styled, title
from lmmoe.report.statistics import MeanRanks


@styled
def critical_difference(ranks: MeanRanks) -> Figure:
    """Mean ranks, and which of them are too near to tell apart (Demsar, JMLR 2006, figure 1).

    A thick line joins detectors whose mean ranks lie closer than Nemenyi's critical difference.
    """
    means = ranks.ranks
    if not np.isfinite(ranks.critical_difference):
        return note("Fewer than two detectors or entities: there are no ranks to compare.")
    groups = groups_within(means.to_numpy(), ranks.critical_difference)
    half = -(-len(means) // 2)
    top = 0.9 + 0.3 * len(groups)  # lines of text below the axis that the groups need
    figure, ax = canvas(width=9, height=1.5 + 0.2 * (half + top))
    ax.set(xlim=(1 - 0.02 * len(means), len(means) * 1.02), ylim=(top + half, -3))
    ax.axis("off")
    _axis(ax, len(means), ranks.critical_difference)
    air = 0.002 * len(means)
    for level, (first, last) in enumerate(groups):
        ends = means.iloc[first] - air, means.iloc[last] + air
        ax.plot(ends, [0.6 + 0.3 * level] * 2, color="#333333", lw=2.5, solid_capstyle="butt")
    for place, (name, rank) in enumerate(means.items()):
        left = place < half
        level = top + (place if left else len(means) - 1 - place)
        # Out to the side, where the names stand in a column.
        edge = 0.0 if left else 1.0
        across = ax.get_xlim()[0] if left else ax.get_xlim()[1]
        ax.plot([rank, rank, across], [0, level, level], color=colour(name), lw=0.8, alpha=0.8)
        text = f"{title(name)}  {rank:.2f} " if left else f" {rank:.2f}  {title(name)}"
        look = {"ha": "right" if left else "left", "va": "center", "fontsize": 7.5}
        look |= {"color": colour(name), "transform": ax.get_yaxis_transform()}
        ax.text(edge, level, text, weight="bold" if name == "LightMMoE" else "normal", **look)
    ax.set_title(_caption(ranks), loc="center")
    family_legend(figure, means.index, loc="outside lower center", ncols=5)
    return figure


def _caption(ranks: MeanRanks) -> str:
    p = "< 0.001" if ranks.p < 0.001 else f"= {ranks.p:.3f}"
    text = f"mean ranks over {ranks.entities} entities (Friedman: p {p})"
    named = ", ".join(map(title, ranks.left_out[:4])) + (", ..." if ranks.left_out[4:] else "")
    return f"{text}\nleft out, with fewer entities: {named}" if ranks.left_out else text


def _axis(ax: Axes, worst: int, critical: float) -> None:
    """The ranks from 1 on, and how long the critical difference is."""
    ax.plot([1, worst], [0, 0], color="black", lw=0.8)
    step = 1 if worst <= 12 else 3
    for rank in range(1, worst + 1, step):
        ax.plot([rank, rank], [0, -0.25], color="black", lw=0.8)
        ax.text(rank, -0.4, str(rank), ha="center", va="bottom", fontsize=7.5)
    end = min(1 + critical, worst)
    ax.plot([1, end], [-1.9, -1.9], color="black", lw=1.2, marker="|")
    ax.text((1 + end) / 2, -2.1, f"critical difference {critical:.2f}", ha="center", fontsize=7.5)


def groups_within(ranks: np.ndarray, critical: float) -> list[tuple[int, int]]:
    """Find the longest stretches of sorted ranks ``(k,)`` that span less than ``critical``.

    First and last position of each, those inside another and those of one detector left out.
    """
    lasts = np.searchsorted(ranks, ranks + critical, side="left") - 1
    groups: list[tuple[int, int]] = []
    for first, last in enumerate(lasts.tolist()):
        if last > first and (not groups or last > groups[-1][1]):
            groups.append((first, last))
    return groups
