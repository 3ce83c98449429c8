"""What data and published tables show without any detector: the ground that mistakes stand on."""

from importlib.resources import files

import numpy as np
import pandas as pd

from lmmoe.data import Series

KINDS = ("point", "event_log", "event_squeeze")  # F1s of the study's results file
ROUNDING = 2e-3  # precision and recall are printed with six digits, products of them lose some


def of(series: Series) -> dict[str, float]:
    """Facts of one entity with labelled events.

    ``first_event``: rows before the first event; ``longest_tenth``: share of the anomalous rows
    that lie in the longest tenth of the events (one event at least); ``train_ends_at_1``,
    ``test_ends_at_1``: share of the channels whose highest value in that half is exactly 1, which
    tells on which half a min-max scaling was fitted before publication.
    """
    lengths = np.sort([end - start for start, end in series.events])
    longest = lengths[-max(1, len(lengths) // 10) :]
    return {
        "first_event": float(series.events[0][0]),
        "longest_tenth": float(longest.sum() / lengths.sum()),
        "median_length": float(np.median(lengths)),
        "train_ends_at_1": float((series.train.max(axis=0) == 1).mean()),
        "test_ends_at_1": float((series.test.max(axis=0) == 1).mean()),
    }


def inconsistent(results: pd.DataFrame) -> int:
    """Count F1s that are not 2 P R / (P + R) of the precision and recall beside them.

    ``results`` has columns ``<kind>_f1``, ``_precision`` and ``_recall`` for each of `KINDS`.
    """
    bad = 0
    for kind in KINDS:
        f1, precision, recall = (
            results[f"{kind}_{part}"] for part in ("f1", "precision", "recall")
        )
        due = 2 * precision * recall / (precision + recall)
        bad += int(((f1 - due.fillna(0.0)).abs() > ROUNDING).sum())
    return bad


def twins(results: pd.DataFrame) -> list[tuple[str, str]]:
    """Pairs of detectors whose results are the same on every machine."""
    shape = results.set_index(["detector", "machine"]).unstack("machine")
    names = list(shape.index)
    same = [
        (one, other)
        for place, one in enumerate(names)
        for other in names[place + 1 :]
        if np.array_equal(shape.loc[one].to_numpy(), shape.loc[other].to_numpy(), equal_nan=True)
    ]
    return same


def study_file() -> pd.DataFrame:
    """What the study's own runs gave, as its repository has it: a row per detector and machine."""
    with (files("lmmoe") / "published" / "study_results.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file)
