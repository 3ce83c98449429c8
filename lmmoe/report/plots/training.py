"""Pictures of one fitted model."""

import numpy as np
from matplotlib.figure import Figure

from lmmoe.data import Series
from lmmoe.data.series import Floats
from lmmoe.report.names import COLOURS, colour, title
from lmmoe.report.plots.data import caused_by, lanes
from lmmoe.report.plots.style import EVENT, canvas, log_scale, note, shade_events, styled, time_axis


@styled
def mixture(channels: int, window: int, experts: int) -> Figure:
    """Draw a window's way through the network, for the forecast of one channel."""
    figure, ax = canvas(height=3.4)
    ax.axis("off")
    ax.set(xlim=(0, 10), ylim=(-0.9, 4.2), title="from a window to the forecast of one channel")
    parts = {  # x, y, text, colour
        "window": (0.8, 2.5, f"window\n{window} rows of\n{channels} channels", "#ECEFF1"),
        "own": (0.8, -0.2, f"window\n{window} rows of\nthis channel", "#ECEFF1"),
        "gate": (3.4, -0.2, "gate, one per channel:\nshares of the experts, sum 1", "#FCE7C3"),
        "mean": (5.8, 2.5, "mean of the outputs,\nweighted by the shares", "#FCE7C3"),
        "tower": (7.7, 2.5, "tower,\none per channel", "#CFE8DD"),
        "forecast": (9.3, 2.5, "forecast\nof the next\nvalue", "#ECEFF1"),
    }
    ways = [("own", "gate"), ("gate", "mean"), ("mean", "tower"), ("tower", "forecast")]
    for number, height in enumerate(np.linspace(3.9, 1.1, min(experts, 4)), 1):
        name = f"expert {number}"
        parts[name] = (3.4, height, f"{name}: sees all channels", "#CFE1F2")
        ways += [("window", name), (name, "mean")]
    if experts > 4:
        ax.text(3.4, 0.5, f"... and {experts - 4} more", ha="center", fontsize=8)
    boxes = {}
    for name, (x, y, text, shade) in parts.items():
        frame = {"boxstyle": "round,pad=0.4", "fc": shade, "ec": "#78909C"}
        label = ax.text(x, y, text, ha="center", va="center", fontsize=8, bbox=frame)
        boxes[name] = label.get_bbox_patch()
    for start, end in ways:
        arrow = {"arrowstyle": "->", "color": "#78909C", "shrinkA": 1, "shrinkB": 1}
        arrow |= {"patchA": boxes[start], "patchB": boxes[end]}
        ax.annotate("", parts[end][:2], parts[start][:2], arrowprops=arrow)
    return figure


@styled
def learning_curve(history: object) -> Figure:
    """Errors after each epoch, of a `lmmoe.training.History`."""
    figure, ax = canvas(width=6, height=2.8)
    epochs = range(1, len(history.training) + 1)
    ax.plot(epochs, history.training, "o-", color=colour("LightMMoE"), label="training, dropout on")
    if history.held_out:
        ax.plot(epochs, history.held_out, "s--", color="#009E73", label="held-out rows")
        ax.axvline(history.best_epoch, color="#999999", lw=0.8, ls=":", label="weights kept")
    ax.locator_params(axis="x", integer=True)
    ax.set(xlabel="epoch", ylabel="mean squared error", title="learning (errors in z-scores)")
    ax.legend()
    return figure


@styled
def score_lanes(series: Series, scores: dict[str, Floats]) -> Figure:
    """The scores of several detectors over the same labelled events, one lane each."""
    if not scores:
        return note("No detector has a result here.")
    figure, axes = canvas(len(scores), height=0.6 + 1.15 * len(scores), sharex=True, squeeze=False)
    time, unit = time_axis(series, np.arange(len(series.test)))
    for ax, (name, values) in zip(axes[:, 0], scores.items(), strict=True):
        floor = np.quantile(values, 0.01)
        ax.plot(time, np.maximum(values, floor), color=colour(name), lw=0.5)
        if floor > 0:
            log_scale(ax)  # scores of a forecaster span several powers of ten
        shade_events(ax, series)
        ax.set_title(title(name), fontsize=9, color=colour(name))
        ax.tick_params(labelsize=7)
        ax.margins(x=0)
    axes[-1, 0].set_xlabel(f"{unit} of the test half of {series.entity} (shaded: labelled events)")
    figure.supylabel("score", fontsize=8)
    return figure


@styled
def attribution(series: Series, channel_scores: Floats, event: tuple[int, int]) -> Figure:
    """Each channel's share of the score around one event; dots mark the named causes."""
    start, stop = max(event[0] - 45, 0), min(event[1] + 45, len(series.test))
    part = channel_scores[start:stop]
    share = part / np.maximum(part.sum(axis=1, keepdims=True), 1e-12)
    figure, ax = canvas(height=max(2.4, 0.9 + 0.12 * len(series.channels)))
    (first, last, *edges), unit = time_axis(series, np.array([start, stop, *event]))
    box = (first, last, len(series.channels) - 0.5, -0.5)
    image = ax.imshow(share.T, cmap="magma_r", vmin=0, vmax=0.5, extent=box)
    for edge in edges:
        ax.axvline(edge, color=EVENT, lw=1)
    causes = sorted(caused_by(series, event))
    ax.plot([first] * len(causes), causes, ">", color=EVENT, ms=4, clip_on=False)
    ax.set_yticks(range(len(series.channels)), series.channels, fontsize=6)
    ax.set(xlabel=unit, title="channels' shares of the score (lines: event; arrows: causes)")
    figure.colorbar(image, ax=ax, label="share of the row's score", shrink=0.7, pad=0.01)
    return figure


@styled
def gates_over_time(
    series: Series, shares: Floats, entropy: Floats, channel: int, event: tuple[int, int]
) -> Figure:
    """One channel: values, ``shares`` ``(t, c, e)`` of experts; all gates' ``entropy`` ``(t,)``."""
    figure, (values, parts, mean), rows, time = lanes(series, event, [channel] * 3, around=60)
    gap = len(series.test) - len(shares)
    values.plot(time, series.test[rows, channel], color="#37474F")
    values.set_title("the gate of one channel over time, and the mean entropy of all gates")
    shown = np.pad(shares[:, channel], ((gap, 0), (0, 0)))[rows].T
    labels = [f"expert {number + 1}" for number in range(len(shown))]
    parts.stackplot(time, shown, labels=labels, colors=COLOURS, lw=0, antialiased=False)
    parts.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=7)
    mean.plot(time, np.pad(entropy, (gap, 0), constant_values=np.nan)[rows], color="#37474F")
    for ax, name in ((parts, "share"), (mean, "entropy")):
        ax.yaxis.set_label_text(name)  # where the lanes' labels stand
        ax.set_ylim(0, 1)
    return figure
