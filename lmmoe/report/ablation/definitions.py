"""What each group of variants asks, where its definition comes from, and what was chosen here.

The study ablates in two places: its technical report prints expected scores (claims A023 to A028),
its slides "measured" ones (B030 to B038). Neither gives a variant's code, so most definitions leave
a choice.
"""

from typing import NamedTuple

REPORT = "the study's technical report and slides, ablation"
SWEPT = "the study's ablation, swept without a printed score"
FUTURE = "the study's future work"
ADDED = "added here"


class Definition(NamedTuple):
    """A variant in words: what it is, who defines it, and what was chosen where that is open."""

    meaning: str
    source: str
    choice: str = ""


# By group; a variant of its own definition is under its name below.
GROUPS = {
    "experts": Definition("So many experts in place of 4.", REPORT),
    "gate": Definition(
        "Another share s of the common gate in (1 - s) own + s common; LightMMoE has s = 0.7.",
        SWEPT,
    ),
    "towers": Definition("So many hidden units in each channel's tower in place of 16.", SWEPT),
    "sizes": Definition(
        "So many kernels (in place of 8) or hidden units (in place of 128) in each expert.", SWEPT
    ),
    "window": Definition(
        "So many rows of the past in place of 16.",
        SWEPT,
        "The kernels span the window, so that experts grow with it; the first rows that no whole "
        "window precedes get the lowest score.",
    ),
    "horizon": Definition(
        "Forecasts a row so many rows ahead in place of 1.",
        ADDED,
        "A row's score is the error of the forecast made so many rows before.",
    ),
    "training": Definition("Trained otherwise, the network is the same.", ADDED),
    "yardsticks": Definition("No variant, for comparison.", ADDED),
}
VARIANTS = {
    "LightMMoE": Definition(
        "The full model: 4 experts, s = 0.7, windows of 16 rows, 5 epochs in batches of 64.", REPORT
    ),
    "1 expert": Definition(
        "One expert: the gates have nothing to choose.", REPORT, "The towers stay."
    ),
    "adaptive": Definition(
        "After each epoch an expert used less than half as much as on average leaves, one used "
        "more than twice as much splits in two.",
        FUTURE,
        "1 to 16 experts; a split expert gets noise of 1 % of its weights' deviation, and the "
        "optimiser starts afresh. Early stopping may keep the network before a change.",
    ),
    "time-series experts": Definition(
        "A convolution of 3 along time plus one of 3 along channels in place of kernels that span "
        "the window.",
        FUTURE,
        "The two are summed, then ReLU; 8 maps each, padded to the window's size, which makes the "
        "first layer 16 times as large.",
    ),
    "mean (no gate)": Definition(
        "The mean of the experts' outputs in place of gates.", REPORT, "The towers stay."
    ),
    "specific only (s = 0)": Definition(
        "No common gate, only each channel's own.",
        REPORT,
        'Stands for the report\'s "no shared gate" and the slides\' "specific gate only".',
    ),
    "shared only (s = 1)": Definition(
        "One gate for all channels.",
        SWEPT,
        "It sees the window of the channel that it gates for, so that its shares differ by "
        "channel.",
    ),
    "s learned": Definition(
        "The share s is learned with the rest.",
        SWEPT,
        "One s for all channels, the logistic function of a weight, from 0.7 on.",
    ),
    "attention": Definition(
        "A channel's window, embedded, asks; each expert has a learned key.",
        FUTURE,
        "16 numbers an embedding; softmax of the products divided by 4; no common part.",
    ),
    "hierarchical": Definition(
        "Two groups of two experts: a gate chooses the group, one inside each the expert.",
        FUTURE,
        "The shares are products of two softmaxes; s = 0.7 in each.",
    ),
    "no towers": Definition(
        "One linear layer from the experts' mixture to all channels.",
        REPORT,
        "The mixture is that of the mean over the channels' gates.",
    ),
    "extremely light": Definition(
        "2 experts of 4 kernels, 64 hidden and 32 output units, towers of 8.",
        REPORT,
        "Window, s, dropout and training as in the full model.",
    ),
    "Huber's loss": Definition(
        "Squared error up to 1, absolute beyond, in training.", ADDED, "In z-scores."
    ),
    "absolute error": Definition(
        "Absolute error in training.", ADDED, "The score stays the squared error."
    ),
    "no dropout": Definition("No dropout in experts and towers.", ADDED),
    "untrained LightMMoE": Definition(
        "The full model with the weights that it starts with.", ADDED
    ),
    "MTSExample": Definition(
        "The squared norm of the z-scored row: it learns nothing but the scaling.",
        "the study's top scorer",
    ),
    "last value": Definition("Each row's forecast is the row before it.", ADDED),
    "random": Definition("Random scores.", ADDED),
}
