"""What data and published tables show without any detector: the ground that mistakes stand on."""

from importlib.resources import files

import numpy as np
import pandas as pd

from lmmoe.data import Series

KINDS = ("point", "event_log", "event_squeeze")  # F1s of the study's results file
ENDS = ("1_in_train_alone", "1_in_test_alone", "1_in_both", "1_in_neither")
RARE = 0.1  # of the channels: fewer are told as an accident
ROUNDING = 2e-3  # precision and recall are printed with six digits, products of them lose some


def of(series: Series) -> dict[str, float]:
    """Facts of one entity with labelled events.

    ``first_event``: rows before the first event; ``longest_tenth``: share of the anomalous rows
    that lie in the longest tenth of the events (one event at least); ``median_length`` in rows.
    And how many channels move in either half (``moving``), by where their highest value is exactly
    1 (`ENDS`), which tells on which half a min-max scaling was fitted before publication.
    """
    lengths = np.sort([end - start for start, end in series.events])
    longest = lengths[-max(1, len(lengths) // 10) :]
    return {
        "first_event": float(series.events[0][0]),
        "longest_tenth": float(longest.sum() / lengths.sum()),
        "median_length": float(np.median(lengths)),
    } | _ends(series)


def _ends(series: Series) -> dict[str, float]:
    """Channels that move, and where they reach 1."""
    halves = (series.train, series.test)
    moving = np.any([half.max(axis=0) > half.min(axis=0) for half in halves], axis=0)
    train, test = (half.max(axis=0)[moving] == 1 for half in halves)
    where = (train & ~test, test & ~train, train & test, ~train & ~test)
    counts = {name: float(there.sum()) for name, there in zip(ENDS, where, strict=True)}
    return {"moving": float(moving.sum())} | counts


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
    with (files("lmmoe.report") / "published" / "study_results.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file)


def in_words(table: pd.DataFrame, dataset: str) -> str:
    """What the data show by themselves, as Markdown; ``table`` has a row of facts per entity."""
    if table.empty:
        return "No labelled events: nothing to tell."
    lines = [
        f"- The first event of any entity begins at row {table['first_event'].min():.0f} of its "
        "test half: zeros before it can cost no hit.",
        f"- The longest tenth of an entity's events holds {table['longest_tenth'].mean():.0%} of "
        f"its anomalous rows in the mean ({table['longest_tenth'].min():.0%} to "
        f"{table['longest_tenth'].max():.0%}); the median event has "
        f"{table['median_length'].median():.0f} rows.",
    ]
    return "\n".join(lines + _scaled(table) + (_published() if dataset == "smd" else []))


def _scaled(table: pd.DataFrame) -> list[str]:
    """On which rows the data were scaled before publication, where they seem to have been."""
    moving, train, test, both, neither = table[["moving", *ENDS]].sum().astype(int)
    if moving - neither <= RARE * moving:
        return []
    if both > (moving - neither) / 2:
        how = "each half was scaled by itself, or cut off at 1"
    elif test > RARE * moving:
        how = "both halves were scaled together, so that the scaling saw the test half"
    else:
        how = "the scaling was fitted on the training half"
    return [
        f"- Of the {moving} channels that move in either half, all entities together, the highest "
        f"value is exactly 1 in the training half alone for {train}, in the test half alone for "
        f"{test}, in both for {both}, in neither for {neither}, which suggests that before they "
        f"were published {how}."
    ]


def _published() -> list[str]:
    """What the study's own results file shows without any run."""
    results = study_file()
    same = [f"{one} and {other}" for one, other in twins(results)]
    alike = f"these detectors have the same results on every machine: {', '.join(same)}"
    return [
        f"- Of the {len(KINDS) * len(results)} F1s in the study's own results, "
        f"{inconsistent(results)} are not 2PR/(P+R) of their precision and recall; "
        f"{alike if same else 'no two detectors have the same results on every machine'}."
    ]
