"""How many numbers each part of the study's networks learns, counted from their described sizes.

Axes: c channels, w window, e experts, k kernels. Sizes: the study's settings of its networks, and
for CAD-FSE23 those of "Beyond Sharing: Conflict-Aware Multivariate Time Series Anomaly Detection"
(ESEC/FSE 2023), its settings for SMD.
"""

from typing import NamedTuple

CHANNELS = 38  # of every machine of SMD
FLOAT_BYTES = 4  # a weight is stored as a 32-bit float
MEGABYTE = 1e6
# The study's LightMMoE; settings of a run that say the same change nothing.
DEFAULTS: dict[str, object] = {
    "window": 16,
    "experts": 4,
    "kernels": 8,
    "hidden": 128,
    "out": 64,
    "tower": 16,
    "shared": 0.7,
    "gate": "mixed",
    "epochs": 5,
    "batch": 64,
}


class Parts(NamedTuple):
    """Number of experts, and numbers learned in one of them, in all gates and in all towers."""

    experts: int
    expert: int
    gates: int
    towers: int

    @property
    def total(self) -> int:
        """All that the network learns."""
        return self.experts * self.expert + self.gates + self.towers


class Sizes(NamedTuple):
    """Sizes of one network of the family."""

    experts: int
    kernels: int
    hidden: int
    out: int
    tower: int
    window: int
    shared: bool  # whether it has a shared gate beside the channels' own


SIZES = {
    "LightMMoE": Sizes(4, 8, 128, 64, 16, 16, shared=True),
    "CAD": Sizes(3, 8, 128, 64, 128, 16, shared=False),
    "CAD-FSE23": Sizes(5, 16, 256, 128, 32, 16, shared=True),
}


def linear(inputs: int, outputs: int) -> int:
    """Weights and biases of a layer; a convolution over a whole window is one too."""
    return inputs * outputs + outputs


def family(sizes: Sizes) -> Parts:
    """Count a network of the family, as `lmmoe.mmoe` builds it."""
    e, k, hidden, out, tower, window, shared = sizes
    expert = linear(window, k) + linear(CHANNELS * k, hidden) + linear(hidden, out)
    gates = (CHANNELS + shared) * window * e
    return Parts(e, expert, gates, CHANNELS * (linear(out, tower) + linear(tower, 1)))


def hmmoe() -> Parts:
    """Count HMMoE: two convolutions with batch norm, three layers; layer norm in the towers."""
    convolutions = linear(20, 16) + 2 * 16 + linear(16, 32) + 2 * 32
    expert = convolutions + linear(CHANNELS * 32, 256) + linear(256, 128) + linear(128, 128)
    gates = (CHANNELS + 1) * 20 * 8 + 8 + 1  # a bias per expert and the temperature
    tower = linear(128, 32) + 2 * 32 + linear(32, 16) + linear(16, 1)
    return Parts(8, expert, gates, CHANNELS * tower)


def cad_as_run() -> Parts:
    """Count what gave the study's CAD scores: plain layers, one gate, one output for all."""
    inputs = 16 * CHANNELS
    expert = linear(inputs, 64) + linear(64, 32) + linear(32, 32)
    return Parts(3, expert, linear(inputs, 3), linear(32, CHANNELS))


def parts(name: str) -> Parts | None:
    """Count a network's parts at 38 channels; None for other detectors."""
    if name in SIZES:
        return family(SIZES[name])
    return {"HMMoE": hmmoe(), "CAD-as-run": cad_as_run()}.get(name)
