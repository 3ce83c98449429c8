"""What a run leaves in the cache, so that nothing expensive is done twice.

One folder per run: scores, the scores that may set a threshold, the channels' shares in each event,
costs, and the model where it can be saved.
"""

import json
import platform
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from lmmoe import paths
from lmmoe.data import Series
from lmmoe.data.reading import read_npy
from lmmoe.data.series import Floats
from lmmoe.detectors import Detector, saving
from lmmoe.report.measure import measured
from lmmoe.report.protocol import Protocol

MODEL = "model.safetensors"


@dataclass(frozen=True, eq=False)
class Result:
    """What fitting and scoring gave: ``scores`` ``(t,)`` of the test half, and what both cost.

    ``calibration`` are the scores of training rows that the model was not fitted on; ``blame``
    ``(events, c)`` are each event's channel scores, summed over its rows, for the events whose
    causes are known. None where there are none.
    """

    folder: Path
    scores: Floats
    calibration: Floats | None
    blame: Floats | None
    costs: dict[str, float | str]

    @cached_property
    def detector(self) -> Detector:
        """The fitted detector; raises `NotImplementedError` where it cannot be saved."""
        file = self.folder / MODEL
        if not file.is_file():
            raise NotImplementedError("this detector cannot be saved: fit it to have it")
        return saving.load(file)


def kept(folder: Path) -> Result:
    """Read a result; raises `OSError` or `ValueError` where it is missing or damaged.

    Of the model only the header is read, which knows how long the file must be.
    """
    spent = json.loads((folder / "costs.json").read_text(encoding="utf-8"))  # written last
    for name in spent.pop("files", ()):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder / name}: no such file")
    if (folder / MODEL).is_file():
        saving.header(folder / MODEL)
    optional = {name: folder / f"{name}.npy" for name in ("calibration", "blame")}
    arrays = {n: read_npy(path) if path.is_file() else None for n, path in optional.items()}
    return Result(folder, read_npy(folder / "scores.npy"), **arrays, costs=spent)


def compute(made: Detector, series: Series, protocol: Protocol, folder: Path) -> None:
    """Fit a detector, score the test half, and write the result in place of an earlier one."""
    with measured() as training:
        made.fit(protocol.train(series))
    with measured() as scoring:
        scores = made.decision_function(series.test)
    arrays = {
        "scores": scores,
        "calibration": _calibration(made, protocol),
        "blame": _blame(made, series),
    }
    given = {f"{name}.npy": array for name, array in arrays.items() if array is not None}
    for left in ("costs.json", MODEL, "calibration.npy", "blame.npy"):  # of a damaged result
        (folder / left).unlink(missing_ok=True)
    if made.savable:
        saving.save(made, folder / MODEL)
    for name, array in given.items():
        with paths.replacing(folder / name) as part:
            np.save(part, array)
    spent = {
        "train_seconds": training.seconds,
        "train_peak_mb": training.peak_mb,
        "score_seconds": scoring.seconds,
        "test_rows": len(series.test),
        "parameters": made.parameters,
        "host": f"{platform.system()} {platform.machine()}",
        "files": [*given, *([MODEL] if made.savable else [])],
    }
    with paths.replacing(folder / "costs.json") as part:
        part.write_text(json.dumps(spent), encoding="utf-8")


def _calibration(made: Detector, protocol: Protocol) -> Floats | None:
    """Give the scores ``(n,)`` that may set a threshold.

    None where the model learned from them, or scales scores over the rows given.
    """
    rows = len(made.decision_scores_)
    learned_all = made._cut(rows) > rows - int(protocol.calibration * rows)
    if learned_all or made.rescales:
        return None
    return protocol.calibrating(made.decision_scores_)


def _blame(made: Detector, series: Series) -> Floats | None:
    """Sum the channel scores over each event whose causes are known: ``(events, c)``.

    None without such events, or where the detector has no channel scores.
    """
    if not series.causes:
        return None
    try:
        shares = made.channel_scores(series.test)
    except NotImplementedError:
        return None
    return np.array([shares[cause.start : cause.end].sum(axis=0) for cause in series.causes])
