"""HMMoE: the study's large relative of LightMMoE."""

from lmmoe.detectors import register
from lmmoe.detectors.mixture import Mixture


@register(
    "HMMoE",
    experts=8,
    kernels=[16, 32],
    hidden=[256, 128],
    out=128,
    tower=[32, 16],
    shared=0.8,
    temperature=True,
    normalise=True,
    init="xavier",
    expert_dropout=0.25,
    tower_dropout=0.15,
    window=20,
    epochs=12,
    batch=32,
    learning_rate=5e-4,
    weight_decay=1e-4,
    clip=1.0,
    plateau=True,
)
class HMMoE(Mixture):
    """Eight experts of two convolutions and three layers each: 3,081,743 parameters at 38 channels.

    The settings are those of the study's own program. In a module of its own, so that changes to
    how its light relatives are trained leave its results valid.
    """

    name = "HMMoE"
