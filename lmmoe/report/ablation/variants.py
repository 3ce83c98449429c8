"""The variants of LightMMoE that a profile names, and what is known of each beforehand."""

import json
from typing import NamedTuple

from lmmoe.report.ablation.definitions import GROUPS, VARIANTS, Definition
from lmmoe.report.params import LABEL, Profile, detector_of
from lmmoe.report.study import spelled

FULL = "LightMMoE"
YARDSTICKS = "yardsticks"
# What the study says something about: the variants of its claims, and the ends of its sweeps.
STUDIED = {
    "one expert": {"experts": 1},
    "mean gate": {"gate": "mean"},
    "no shared gate": {"shared": 0},
    "specific gate only": {"shared": 0},
    "no towers": {"tower": []},
    "extreme lightweight": {"experts": 2, "kernels": 4, "hidden": 64, "out": 32, "tower": 8},
}
CLAIMED = (*STUDIED.values(), {"experts": 2}, {"experts": 8}, {"shared": 1})


class Variant(NamedTuple):
    """One setting of the model, or a yardstick: its name in a profile taken apart."""

    label: str  # "LightMMoE / experts / 1 expert"
    detector: str
    group: str  # "experts"; of the full model its own name
    name: str  # "1 expert"
    settings: str  # as in a row of runs

    @property
    def claimed(self) -> bool:
        """Whether the study claims something about it."""
        texts = {spelled(json.dumps(settings)) for settings in CLAIMED}
        return self.detector == FULL and spelled(self.settings) in texts

    @property
    def definition(self) -> Definition:
        """What it is, in words."""
        return VARIANTS.get(self.name) or GROUPS[self.group]


def variants(plan: Profile) -> list[Variant]:
    """Take apart the names of a plan's detectors, in its order.

    Raises `ValueError` where a label has not the form ``DETECTOR / GROUP / VARIANT``, or its group
    no definition.
    """
    return [_variant(label, settings) for label, settings in plan.detectors.items()]


def by_hand(settings: str) -> bool:
    """Whether the model with these settings (JSON) learns by steps that are written out by hand.

    Other settings leave the gradient to autograd, which takes longer for the same arithmetic.
    """
    import torch

    from lmmoe.detectors import detector
    from lmmoe.mmoe import byhand

    made, dice = detector(FULL, **json.loads(settings)), torch.Generator()
    learner = made._learner(made._build(1, dice), torch.empty(0), dice)
    return isinstance(learner, byhand.Descent)


def _variant(label: str, settings: dict[str, object]) -> Variant:
    detector, text = detector_of(label), json.dumps(settings, sort_keys=True)
    if label == detector:
        return Variant(label, detector, FULL if label == FULL else YARDSTICKS, label, text)
    parts = label.split(LABEL)
    if len(parts) != 3 or parts[1] not in GROUPS:
        raise ValueError(
            f"detectors.{label}: expected 'DETECTOR / GROUP / VARIANT' with one of the groups "
            f"{', '.join(GROUPS)}"
        )
    return Variant(label, detector, parts[1], parts[2], text)
