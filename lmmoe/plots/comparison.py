"""Pictures that set detectors side by side. They take the tables of `lmmoe.tables`."""

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from lmmoe.plots.style import METRIC_TITLES, canvas, colour, labelled_only, note, styled, title


@styled
@labelled_only
def heatmap(by_entity: pd.DataFrame, metric: str) -> Figure:
    """One metric of every detector (columns) on every entity (rows), the mean at the bottom."""
    table = pd.concat([by_entity, by_entity.mean().to_frame("mean").T])
    figure, ax = canvas(width=2.6 + 0.95 * table.shape[1], height=1.6 + 0.24 * len(table))
    sns.heatmap(
        table.rename(columns=title),
        ax=ax,
        cmap="crest",
        vmin=0,
        vmax=1,
        annot=True,
        fmt=".2f",
        annot_kws={"size": 7},
        cbar=False,
    )
    ax.axhline(len(by_entity), color="white", lw=3)
    ax.tick_params(length=0, labelsize=7, axis="both")
    ax.set(title=METRIC_TITLES[metric], xlabel="", ylabel="")
    return figure


@styled
@labelled_only
def what_adjustment_hides(summary: pd.DataFrame) -> Figure:
    """The same scores with and without point adjustment: from best F1 to Point F1 (PA)."""
    order = summary.sort_values("best_f1")
    figure, ax = canvas(width=8, height=1.1 + 0.42 * len(order))
    for level, (name, line) in enumerate(order.iterrows()):
        plain, adjusted = line["best_f1"], line["point_f1_pa"]
        ax.plot([plain, adjusted], [level, level], color=colour(name), lw=2, alpha=0.5)
        ax.scatter(plain, level, color=colour(name), s=45, zorder=3)
        ax.scatter(adjusted, level, color="white", edgecolor=colour(name), s=45, zorder=3)
        for value, side in ((plain, "right"), (adjusted, "left")):
            nudge = -0.015 if side == "right" else 0.015
            ax.text(value + nudge, level, f"{value:.2f}", ha=side, va="center", fontsize=7)
    ax.set_yticks(range(len(order)), [title(name) for name in order.index])
    ax.set(xlim=(-0.03, 1.08), ylim=(-0.6, len(order) - 0.4), xlabel="F1 at the best threshold")
    ax.set_title("what point adjustment hides (filled: plain, hollow: adjusted)")
    return figure


@styled
@labelled_only
def quality_and_cost(summary: pd.DataFrame, metric: str = "average_precision") -> Figure:
    """Quality of each detector against what it costs to train one entity."""
    figure, ax = canvas(width=7, height=3.6)
    known = summary.dropna(subset=[metric, "train_seconds"])
    for name, line in known.iterrows():
        seconds = max(line["train_seconds"], 1e-3)  # a clock tells no less
        ax.scatter(seconds, line[metric], s=70, color=colour(name), zorder=3)
        label = {"xytext": (8, 3), "textcoords": "offset points", "fontsize": 8}
        ax.annotate(title(name), (seconds, line[metric]), **label)
    if len(known):  # matplotlib refuses an empty logarithmic axis
        ax.set_xscale("log")
    ax.margins(x=0.25, y=0.15)
    ax.set_ylim(bottom=0)
    ax.grid(alpha=0.25)
    ax.set(
        xlabel="seconds to train on one entity (log scale)",
        ylabel=METRIC_TITLES[metric],
        title="quality against cost",
    )
    return figure


@styled
def against_study(machines: pd.DataFrame) -> Figure:
    """Our numbers against the study's own, machine by machine (`lmmoe.tables.by_machine`)."""
    metrics = [column for column in METRIC_TITLES if f"{column}_study" in machines]
    if machines.empty:
        return note("The study ran none of these entities.")
    figure, axes = canvas(height=3.6, ncols=len(metrics))
    for ax, metric in zip(axes, metrics, strict=True):
        ax.plot([0, 1], [0, 1], color="#999999", lw=0.8)
        known = machines.dropna(subset=f"{metric}_study")
        for name, part in known.groupby("detector"):
            dots = {"s": 22, "alpha": 0.8, "color": colour(name), "label": title(name)}
            ax.scatter(part[f"{metric}_study"], part[metric], **dots)
        chance = machines.loc[machines["detector"] == "random", metric].mean()
        ax.axhline(chance, color=colour("random"), ls="--", label="random scores, mean")
        low = min(known[[metric, f"{metric}_study"]].min().min(), chance) - 0.03
        ax.set(xlim=(low, 1.02), ylim=(low, 1.02), aspect="equal")
        ax.set(title=METRIC_TITLES[metric], xlabel="the study's run", ylabel="ours")
    axes[0].legend(fontsize=7, loc="upper left")
    return figure
