"""The input that every metric accepts."""

import numpy as np
import numpy.typing as npt


def checked(
    labels: npt.ArrayLike, scores: npt.ArrayLike
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64]]:
    """Return labels and scores as ``(t,)`` arrays, or raise `ValueError` saying what is wrong."""
    labels, scores = np.asarray(labels), np.asarray(scores)
    if labels.ndim != 1 or labels.shape != scores.shape:
        raise ValueError(
            f"labels of shape {labels.shape} and scores of shape {scores.shape}: "
            "both must be vectors of one length"
        )
    if labels.dtype.kind not in "biuf" or scores.dtype.kind not in "biuf":
        raise ValueError(f"labels are {labels.dtype} and scores {scores.dtype}: numbers are needed")
    odd = np.flatnonzero((labels != 0) & (labels != 1))
    if len(odd):
        raise ValueError(
            f"label {labels[odd[0]]} at row {odd[0]} is neither 0 nor 1 (were they swapped?)"
        )
    scores = scores.astype(np.float64, copy=False)
    bad = np.flatnonzero(~np.isfinite(scores))
    if len(bad):
        raise ValueError(f"score {scores[bad[0]]} at row {bad[0]} is not a finite number")
    labels = labels.astype(bool, copy=False)
    if labels.all() or not labels.any():
        kind = "an anomaly" if labels.all() else "normal"
        raise ValueError(f"every row is {kind}: the metric needs normal rows and anomalies")
    return labels, scores


def checked_calibration(calibration: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return calibration scores as a ``(t,)`` array, or raise `ValueError` saying what is wrong."""
    scores = np.asarray(calibration)
    if scores.ndim != 1 or not scores.size or scores.dtype.kind not in "biuf":
        raise ValueError(
            f"calibration of shape {scores.shape} and type {scores.dtype}: "
            "a vector of at least one number is needed"
        )
    bad = np.flatnonzero(~np.isfinite(scores))
    if len(bad):
        raise ValueError(f"calibration score {scores[bad[0]]} at row {bad[0]} is not finite")
    return scores.astype(np.float64, copy=False)
