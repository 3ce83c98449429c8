"""Pictures of one fitted model."""

import numpy as np
from matplotlib.figure import Figure

from lmmoe.data import Series
from lmmoe.data.series import Floats
from lmmoe.report.names import colour, title
from lmmoe.report.plots.ablation import COLOURS
from lmmoe.report.plots.data import caused_by, lanes
from lmmoe.report.plots.style import EVENT, canvas, log_scale, shade_events, styled, time_axis
from lmmoe.training import History


@styled
def learning_curve(history: History) -> Figure:
    """Errors after each epoch."""
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
    ax.set(xlabel=unit, title="who causes the score (lines: the event; arrows: the named causes)")
    figure.colorbar(image, ax=ax, label="share of the row's score", shrink=0.7, pad=0.01)
    return figure


@styled
def gates_over_time(
    series: Series, shares: Floats, entropy: Floats, channel: int, event: tuple[int, int]
) -> Figure:
    """One channel around one event: its values, its experts' shares, and all gates' entropy.

    ``shares`` ``(t, c, e)`` and ``entropy`` ``(t,)`` belong to the last rows of the test half.
    """
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
