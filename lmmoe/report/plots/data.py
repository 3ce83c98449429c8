"""Pictures of the data itself."""

from collections.abc import Sequence

import numpy as np
import seaborn as sns
from matplotlib.figure import Figure

from lmmoe.data import Series
from lmmoe.report.plots.style import EVENT, canvas, shade_events, styled, time_axis


@styled
def channel_image(series: Series, *, columns: int = 1200) -> Figure:
    """All channels of both halves as an image: 0 to 1 is the channel's range in training."""
    low, high = series.train.min(axis=0), series.train.max(axis=0)
    span = np.where(high > low, high - low, 1.0)
    # One figure for both halves, as wide as they are long, but wide enough for a title.
    parts = {"training": series.train, "test": series.test}
    least = (len(series.train) + len(series.test)) // 8
    figure, axes = canvas(
        height=max(2.4, 1.2 + 0.13 * len(series.channels)),
        ncols=2,
        sharey=True,
        width_ratios=[max(len(part), least) for part in parts.values()],
    )
    for ax, (name, rows) in zip(axes, parts.items(), strict=True):
        picture, step = _thinned((rows - low) / span, columns)
        (end, edge), unit = time_axis(series, np.array([len(rows), len(picture) * step]))
        box = (0, float(edge), len(series.channels) - 0.5, -0.5)
        image = ax.imshow(picture.T, vmin=-0.25, vmax=1.25, cmap="viridis", extent=box)
        ax.set(title=name, xlabel=unit, xlim=(0, end))
    _event_ticks(axes[1], series)
    axes[0].set_yticks(range(len(series.channels)), series.channels, fontsize=6)
    figure.colorbar(image, ax=axes, label="share of training range", shrink=0.6, pad=0.01)
    return figure


def _thinned(rows: np.ndarray, columns: int) -> tuple[np.ndarray, int]:
    """Reduce ``(t, c)`` to at most ``columns`` rows: the value farthest from the middle survives.

    A plain mean, or every nth row, would hide the short events. Also returns how many rows became
    one; the last one may stand for fewer.
    """
    step = -(-len(rows) // columns)
    whole = np.pad(rows, ((0, -len(rows) % step), (0, 0)), mode="edge")
    whole = whole.reshape(-1, step, rows.shape[1])
    farthest = np.abs(whole - 0.5).argmax(axis=1)[:, None]
    return np.take_along_axis(whole, farthest, axis=1)[:, 0], step


def _event_ticks(ax: object, series: Series) -> None:
    """Mark the events as a red band above the image."""
    scale = series.rows_per_day or 1
    for start, end in series.events:
        width = max(end - start, len(series.test) / 400) / scale  # short ones stay visible
        box = {"transform": ax.get_xaxis_transform(), "clip_on": False, "lw": 0}
        ax.barh(1.005, width, height=0.02, left=start / scale, align="edge", color=EVENT, **box)


@styled
def event_map(fleet: Sequence[Series]) -> Figure:
    """When each entity's events lie, and how long they are."""
    figure, (left, right) = canvas(height=1.2 + 0.22 * len(fleet), ncols=2, width_ratios=[3, 1.2])
    for level, series in enumerate(fleet):
        scale = series.rows_per_day or 1
        left.barh(level, len(series.test) / scale, height=0.7, color="#E8ECEF")
        thin = len(series.test) / scale / 500
        for start, end in series.events:
            width = max((end - start) / scale, thin)
            left.barh(level, width, left=start / scale, height=0.7, color=EVENT)
    left.set_yticks(range(len(fleet)), [series.entity for series in fleet])
    left.invert_yaxis()
    left.set(title="labelled events in the test half", xlabel=time_axis(fleet[0], 1)[1])
    lengths = [end - start for series in fleet for start, end in series.events]
    if lengths:
        bins = np.geomspace(1, max(lengths) + 1, 20)
        right.hist(lengths, bins=bins, color=EVENT, alpha=0.8)
        right.set_xscale("log")
    right.set(title="their lengths", xlabel="rows", ylabel="events")
    return figure


@styled
def closeup(
    series: Series, event: tuple[int, int], *, channels: Sequence[int], around: int = 120
) -> Figure:
    """Some channels around one event, each in its own lane."""
    start, stop = max(event[0] - around, 0), min(event[1] + around, len(series.test))
    figure, axes = canvas(
        len(channels), height=0.6 + 0.75 * len(channels), sharex=True, squeeze=False
    )
    time, unit = time_axis(series, np.arange(start, stop))
    causes = caused_by(series, event)
    for ax, channel in zip(axes[:, 0], channels, strict=True):
        known = channel in causes
        ax.plot(time, series.test[start:stop, channel], color=EVENT if known else "#37474F")
        shade_events(ax, series, start=start, stop=stop)
        ax.set_ylabel(series.channels[channel], rotation=0, ha="right", va="center", fontsize=7)
        ax.tick_params(labelsize=6)
    axes[0, 0].set_title("around one event (shaded); red lines: channels named as its cause")
    axes[-1, 0].set_xlabel(unit)
    return figure


def caused_by(series: Series, event: tuple[int, int]) -> set[int]:
    """The channels named as causes of an event; none where nobody named any."""
    overlapping = (
        cause.channels
        for cause in series.causes or ()
        if cause.start < event[1] and cause.end > event[0]
    )
    return {channel for channels in overlapping for channel in channels}


@styled
def correlations(series: Series) -> Figure:
    """How the channels move together in training, ordered so that groups stand out."""
    moving = np.flatnonzero(_moving(series))
    if not len(moving):
        figure, ax = canvas(width=4, height=1)
        ax.set_axis_off()
        ax.set_title(f"{series.entity}: no channel varies in training")
        return figure
    matrix = np.atleast_2d(np.corrcoef(series.train[:, moving].T))
    order = np.argsort(np.linalg.eigh(matrix)[1][:, -1])
    names = [series.channels[moving[index]] for index in order]
    side = 2.2 + 0.13 * len(names)
    figure, ax = canvas(width=side + 1.5, height=side)
    sns.heatmap(
        matrix[np.ix_(order, order)],
        ax=ax,
        cmap="vlag",
        vmin=-1,
        vmax=1,
        square=True,
        xticklabels=names,
        yticklabels=names,
        cbar_kws={"label": "correlation", "shrink": 0.6},
    )
    ax.tick_params(labelsize=6, length=0)
    ax.set_title(f"{series.entity}: correlation of channels in training")
    return figure


def _moving(series: Series) -> np.ndarray:
    """Which channels vary in training; not by a deviation above 0, for rounding makes it 1e-17."""
    return np.ptp(series.train, axis=0) > 0


@styled
def shifts(fleet: Sequence[Series]) -> Figure:
    """How far each channel's test mean lies from its training mean, in training deviations."""
    widest = max(len(series.channels) for series in fleet)
    picture = np.full((len(fleet), widest), np.nan)
    for row, series in zip(picture, fleet, strict=True):
        spread = np.where(_moving(series), series.train.std(axis=0), np.nan)
        change = series.test.mean(axis=0) - series.train.mean(axis=0)
        row[: len(change)] = change / spread
    figure, ax = canvas(height=1.4 + 0.22 * len(fleet))
    sns.heatmap(
        picture,
        ax=ax,
        cmap="vlag",
        vmin=-3,
        vmax=3,
        yticklabels=[series.entity for series in fleet],
        xticklabels=[str(number + 1) for number in range(widest)],
        cbar_kws={"label": "training deviations"},
    )
    ax.set_facecolor("#DDDDDD")
    ax.tick_params(labelsize=7, length=0)
    ax.set(title="from training to test: shift of each channel's mean", xlabel="channel")
    return figure
