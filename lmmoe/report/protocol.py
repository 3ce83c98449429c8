"""The two ways in which a detector is trained and judged: the study's, and ours.

The study's is what its evaluation program does (an EasyTSAD configuration with margin [0, 5]);
the L2 norm then equals the study's own results on every machine.
"""

from dataclasses import dataclass, field

from lmmoe.data.series import Bits, Floats, Series
from lmmoe.detectors import Detector, detector, entry


@dataclass(frozen=True)
class Protocol:
    """Which rows train, what counts as an event, and the settings that a detector must take."""

    name: str
    train_share: float  # of the training half, from its start; for scaling and fitting
    margin: int  # rows by which every event's end is moved on
    calibration: float = 0.0  # share at the end of the training rows that no model is fitted on
    settings: dict[str, object] = field(default_factory=dict)  # where a detector has them

    def train(self, series: Series) -> Floats:
        """Give the rows ``(t, c)`` to fit on."""
        return series.train[: int(self.train_share * len(series.train))]

    def calibrating(self, scores: Floats) -> Floats | None:
        """Give those of the training scores ``(t,)`` that may set a threshold; None where none."""
        held_out = int(self.calibration * len(scores))
        return scores[len(scores) - held_out :] if held_out else None

    def labels(self, series: Series) -> Bits | None:
        """Give the labels ``(t,)`` to judge by; None where the series has none."""
        if series.labels is None or self.margin == 0:
            return series.labels
        return widened(series.labels, series.events, self.margin)

    def detector(self, name: str, *, seed: int = 0, **settings: object) -> Detector:
        """Make a detector as this protocol wants it; ``settings`` win."""
        known = entry(name).cls.setting_kinds()
        imposed = {key: value for key, value in self.settings.items() if key in known}
        return detector(name, seed=seed, **(imposed | settings))


def widened(labels: Bits, events: list[tuple[int, int]], margin: int) -> Bits:
    """Move every event's end ``margin`` rows on, as the study's evaluation does.

    Not beyond the last row, and stopping 2 rows before the next event's first row, so that two
    events never become one.
    """
    wide = labels.copy()
    limits = [*(start - 2 for start, _ in events), len(labels)][1:]
    for (_, end), limit in zip(events, limits, strict=True):
        wide[end : max(end, min(end + margin, limit))] = 1
    return wide


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("ours", train_share=1.0, margin=0, calibration=0.1),
        Protocol(
            "study",
            train_share=0.8,
            margin=5,
            settings={"held_out": 0.0, "first_scores": "zero"},
        ),
    )
}
