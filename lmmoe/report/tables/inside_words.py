"""What is inside the fitted models, as sentences, every number taken from the table."""

import numpy as np
import pandas as pd

# Columns of `lmmoe.report.ablation.inside.facts` that are forecast errors.
ERRORS = (
    "as trained",
    "gates at their mean",
    "all experts alike",
    "gates of another moment",
    "gates of the next channel",
    "towers of the next channel",
    "the best expert alone",
    "the worst expert alone",
)


def in_words(facts: pd.DataFrame) -> str:
    """What gates, experts and towers do, as Markdown.

    ``facts`` has a row per entity and the columns of `report.ablation.inside.facts`, which are
    averaged, errors geometrically.
    """
    known = facts.dropna(how="all")
    if known.empty:
        return "No fitted model to look into."
    error = np.exp(np.log(known[list(ERRORS)]).mean())
    worse = {name: f"{value / error['as trained'] - 1:+.0%}" for name, value in error.items()}
    models = "one fitted model" if len(known) == 1 else f"{len(known)} fitted models, on average"
    return "\n".join(
        [
            f"Of {models}; forecast errors are on held-out rows, nothing is retrained:",
            "",
            *_gates(known, worse),
            *_experts(known.mean(), worse),
            *_towers(known.mean(), worse),
        ]
    )


def _gates(known: pd.DataFrame, worse: dict[str, str]) -> list[str]:
    mean, lowest = known.mean(), known["gate_weights_like_start"].min()
    events = mean["gate_entropy_events"]
    at_events = "" if np.isnan(events) else f" and {events:.2f} at labelled events"
    return [
        "- **Gates**: their weights correlate "
        f"{mean['gate_weights_like_start']:.3f} with those drawn before training (lowest "
        f"{lowest:.3f}), and {mean['gate_weight_moved']:.0%} of the weight on experts has gone to "
        f"others. Their entropy is {mean['gate_entropy']:.2f} of the largest, "
        f"{mean['gate_entropy_start']:.2f} before training{at_events}; the busiest expert has "
        f"{mean['busiest_expert']:.0%} of the weight.",
        "- Each gate held at its mean share changes the forecast error by "
        f"{worse['gates at their mean']}, all experts alike by {worse['all experts alike']}, the "
        f"gates of another moment by {worse['gates of another moment']}.",
        f"- A forecast listens to its own channel with {mean['own_channel']:.0%} of its "
        f"sensitivity, and with {mean['own_channel_experts']:.0%} where the gates are held still: "
        "the rest of it comes through the gate.",
    ]


def _experts(mean: pd.Series, worse: dict[str, str]) -> list[str]:
    return [
        f"- **Experts**: similarity of outputs (linear CKA) {mean['expert_similarity']:.2f}, "
        f"with random weights {mean['expert_similarity_start']:.2f}. The best of them alone "
        f"changes the forecast error by {worse['the best expert alone']}, the worst by "
        f"{worse['the worst expert alone']}."
    ]


def _towers(mean: pd.Series, worse: dict[str, str]) -> list[str]:
    return [
        "- **Towers**: two channels' read the mixture of experts with a likeness (cosine) of "
        f"{mean['tower_likeness']:.2f}, {mean['tower_likeness_start']:.2f} with random weights. "
        "That of the next channel in place of a channel's own changes the forecast error by "
        f"{worse['towers of the next channel']}."
    ]
