"""Which detector finds which event."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from lmmoe.report.plots.style import (
    canvas,
    colour,
    family_legend,
    log_scale,
    named_ticks,
    note,
    styled,
)


@styled
def events_found(
    found: Mapping[str, npt.ArrayLike], lengths: npt.ArrayLike, entity: str = ""
) -> Figure:
    """Which events (columns, shortest first) each detector (rows) finds at its threshold.

    ``found`` gives ``(events,)`` bool per detector, ``lengths`` ``(events,)`` their rows, in one
    order, of one ``entity``; detectors that find most stand on top, with their share at the right.
    `ValueError` is raised where the lengths do not fit together.
    """
    lengths = np.asarray(lengths)
    hits = {name: np.asarray(one, dtype=bool) for name, one in found.items()}
    for name, one in hits.items():
        if one.shape != lengths.shape:
            raise ValueError(f"{name}: shape {one.shape}, but there are {lengths.size} events")
    if not hits or not lengths.size:
        return note("No events, or no detector to find them.")
    of = f" of {entity}" if entity else ""
    names = sorted(hits, key=lambda name: -hits[name].mean())
    # Equally long events: those that most detectors find come last.
    order = np.lexsort((sum(one.astype(int) for one in hits.values()), lengths))
    figure, (upper, ax) = canvas(
        2, height=2.2 + 0.2 * len(names), sharex=True, height_ratios=[0.9, 0.25 * len(names)]
    )
    edges = np.arange(len(order) + 1) - 0.5
    upper.step(edges, lengths[[*order, order[-1]]], where="post", color="#37474F", lw=1)
    log_scale(upper)
    upper.set(ylabel="rows", title="which detector finds which event (right: share found)")
    picture = np.ones((len(names), len(order), 4))
    for level, name in enumerate(names):
        picture[level, hits[name][order]] = to_rgba(colour(name))
        place = {"transform": ax.get_yaxis_transform(), "va": "center", "fontsize": 7}
        ax.text(1.005, level, f"{hits[name].mean():.0%}", **place)
    ax.imshow(picture, aspect="auto", interpolation="nearest")
    for level in range(1, len(names)):
        ax.axhline(level - 0.5, color="#DDDDDD", lw=0.5)
    named_ticks(ax, names, fontsize=7)
    ax.tick_params(axis="y", length=0)
    ax.set_xticks([])
    what = "labelled event" if len(order) == 1 else "labelled events"
    ax.set_xlabel(f"{len(order)} {what}{of}, shortest first (coloured: found)")
    family_legend(figure, names, loc="outside lower center", ncols=5)
    return figure


@styled
def found_by(count: pd.Series, detectors: int) -> Figure:
    """How many of ``detectors`` find each event: how often each number, and against the length.

    ``count`` (`report.tables.finders`) has an index with the level ``rows``, the event's length.
    """
    if not len(count) or not detectors:
        return note("No events, or no detector to find them.")
    figure, (left, right) = canvas(height=3, ncols=2, width_ratios=[1.5, 1])
    sizes = count.value_counts().reindex(range(detectors + 1), fill_value=0)
    colours = ["#D55E00", "#E69F00", *["#607D8B"] * (detectors - 1)]
    bars = left.bar(sizes.index, sizes, color=colours, width=0.85)
    left.bar_label(bars, [str(size) if size else "" for size in sizes], fontsize=7)
    left.set(xlabel=f"detectors that find it, of {detectors}", ylabel="events")
    left.set_title(f"how many detectors find each of {len(count)} events")
    left.xaxis.set_major_locator(MaxNLocator(integer=True))
    lengths = count.index.get_level_values("rows")
    right.scatter(lengths, count, color=[colours[number] for number in count], s=12, alpha=0.6)
    right.set_xscale("log")
    right.set(xlabel="rows of the event (log scale)", ylabel="detectors that find it")
    right.set_title("by the length of the event")
    look = {"marker": "s", "ls": "", "ms": 6}
    names = ("nobody", "a single one", "more")
    shown = [Line2D([], [], color=c, label=n, **look) for c, n in zip(colours, names, strict=False)]
    figure.legend(handles=shown, loc="outside lower center", ncols=3, fontsize=7)
    return figure
