"""Which detector finds which event."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from lmmoe.plots.style import (
    canvas,
    colour,
    family_legend,
    log_scale,
    named_ticks,
    note,
    styled,
)


@styled
def events_found(found: Mapping[str, npt.ArrayLike], lengths: npt.ArrayLike) -> Figure:
    """Which events (columns, shortest first) each detector (rows) finds at its threshold.

    ``found`` gives ``(events,)`` bool per detector, ``lengths`` ``(events,)`` their rows, in one
    order; detectors that find most stand on top, with their share at the right. Raises
    `ValueError` where the lengths do not fit together.
    """
    lengths = np.asarray(lengths)
    hits = {name: np.asarray(one, dtype=bool) for name, one in found.items()}
    for name, one in hits.items():
        if one.shape != lengths.shape:
            raise ValueError(f"{name}: shape {one.shape}, but there are {lengths.size} events")
    if not hits or not lengths.size:
        return note("No events, or no detector to find them.")
    names = sorted(hits, key=lambda name: -hits[name].mean())
    # Equally long events: those that most detectors find come last.
    order = np.lexsort((sum(one.astype(int) for one in hits.values()), lengths))
    figure, (upper, ax) = canvas(
        2, height=2.2 + 0.2 * len(names), sharex=True, height_ratios=[0.9, 0.25 * len(names)]
    )
    upper.step(np.arange(len(order)), lengths[order], where="mid", color="#37474F", lw=1)
    log_scale(upper)
    upper.set(ylabel="rows", title="which detector finds which event (right: share found)")
    picture = np.ones((len(names), len(order), 4))
    for level, name in enumerate(names):
        picture[level, hits[name][order]] = to_rgba(colour(name))
        share = f"{hits[name].mean():.0%}"
        ax.text(len(order) - 0.3, level, f" {share}", va="center", fontsize=7)
    ax.imshow(picture, aspect="auto", interpolation="nearest")
    for level in range(1, len(names)):
        ax.axhline(level - 0.5, color="#DDDDDD", lw=0.5)
    named_ticks(ax, names, fontsize=7)
    ax.tick_params(axis="y", length=0)
    ax.set_xticks([])
    ax.set_xlabel(f"{len(order)} labelled events, shortest first (coloured: found)")
    family_legend(figure, names, loc="outside lower center", ncols=5)
    return figure
