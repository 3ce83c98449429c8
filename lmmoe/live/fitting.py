"""From a table of somebody's rows to a model that a watch can use."""

from pathlib import Path

import numpy as np

from lmmoe.data.reading import fill_gaps, marked_note
from lmmoe.data.table import Table, read_table
from lmmoe.detectors import detector as make
from lmmoe.errors import DataError
from lmmoe.live import columns, thresholds
from lmmoe.live.checks import above_zero
from lmmoe.live.model import Facts, Model
from lmmoe.live.scorers import scorer

DETECTOR = "LightMMoE"


def fit(
    path: str | Path,
    *,
    detector: str = DETECTOR,
    seed: int = 0,
    time: str | None = None,
    label: str | None = None,
    missing: str = "error",
    rows_per_day: float | None = None,
    settings: dict[str, object] | None = None,
) -> tuple[Model, list[str]]:
    """Fit a detector on the rows of a CSV or Parquet file, taken as normal.

    The file is read as `lmmoe.data.own` reads one: ``time`` and ``label`` name those columns if
    they are others, labels are dropped, ``missing="fill"`` repeats a channel's last value where a
    cell is empty. ``rows_per_day`` is for rows without times. ``settings`` are the detector's. Also
    gives sentences about what was mended.

    Raises `DataError` for rows or settings that cannot be used, for a detector that has no live
    score (`lmmoe.live.scorers`) or cannot be saved, and where training diverges.
    """
    if rows_per_day is not None:
        above_zero("rows_per_day", rows_per_day)
    if missing not in ("error", "fill"):
        raise DataError(f"missing is {missing!r}, neither 'error' nor 'fill'")
    try:
        made = make(detector, seed=seed, **(settings or {}))
    except ValueError as error:
        raise DataError(str(error)) from error
    if not made.savable or made.rescales:
        why = "its scores depend on all rows given" if made.savable else "it cannot be saved"
        raise DataError(f"nothing can watch with {made.name}: {why}")
    table = read_table(Path(path), time=time, label=label, fill=missing == "fill", need_label=False)
    rows, filled = fill_gaps(table.values, table.path.name)
    notes = [*table.notes, *filled]
    if table.labels is not None:
        notes += marked_note(table.labels, len(rows), table.path)
    known = _steps(table) | columns.of(table, time)
    if rows_per_day is not None:
        known["rows_per_day"] = rows_per_day
    try:
        facts = Facts.of(rows, table.channels, **known)
        model = Model(made.fit(rows), facts)
    except (RuntimeError, ValueError) as error:  # a DataError among them
        raise DataError(str(error), file=path) from error
    scorer(model)
    return model, notes


def _steps(table: Table) -> dict[str, object]:
    """What the time column says, as fields of `Facts`."""
    if table.times is None or len(table.times) < 2:
        return {}
    dates = table.times.dtype.kind == "M"
    steps = np.diff(table.times)
    step = float(np.median(steps / np.timedelta64(1, "s") if dates else steps))
    return {"step": step, "dates": dates, "rows_per_day": table.rows_per_day}


def settings(given: list[str]) -> dict[str, object]:
    """Read settings written as ``name=value``, the values in YAML; `DataError` for other text."""
    import yaml

    found = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise DataError(f"{text!r} is no setting", hint="Write NAME=VALUE, such as epochs=3")
        try:
            found[name] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise DataError(f"{text!r} is no setting ({error})") from error
    return found


def described(model: Model) -> list[str]:
    """Say what was fitted, and what each rule's threshold would be."""
    made, facts = model.detector, model.facts
    rows = len(made.decision_scores_)
    lines = [f"{made.name}: {rows} rows of {len(model.channels)} channels"]
    if model.calibration is None:
        return [*lines, "no rows were held out: watch with a threshold of your own"]
    day = facts.rows_per_day if facts else None
    rules = [rule for rule in thresholds.DEFAULTS if rule != "budget" or day is not None]
    values = {rule: thresholds.threshold(rule, model.calibration, day) for rule in rules}
    shown = (
        f"{rule}:{thresholds.DEFAULTS[rule]:g} {getattr(value, 'threshold', value):.6g}"
        for rule, value in values.items()
    )
    lines.append(f"thresholds by the last {len(model.calibration)} rows: {', '.join(shown)}")
    if day is None:
        lines.append("no times, so no alarm budget: watch with --rows-per-day or --threshold")
    return lines
