"""The table of what detectors cost: a row each, measured once and then kept."""

import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from lmmoe import data, paths, progress
from lmmoe.report.efficiency import child, hardware, measuring, records, timing
from lmmoe.report.efficiency.timing import Effort
from lmmoe.report.params import Profile
from lmmoe.report.protocol import PROTOCOLS
from lmmoe.report.runs import Run

FEW = ("LightMMoE", "CAD-as-run", "linear", "PCA windows EWMA", "PCA", "MTSExample", "random")
IDENTITY = (
    *("dataset", "entity", "data", "detector", "protocol", "settings", "seed"),
    *("version", "torch", "effort", "measured"),
)
COSTS = (
    *("device", "parameters", "multiply_adds", "channels"),
    *("train_rows", "train_seconds", "train_wall_seconds", "train_spread", "train_repeats"),
    *("score_rows", "score_seconds", "score_wall_seconds", "score_spread", "score_repeats"),
    *("latency_p50_ms", "latency_p99_ms", "latency_calls"),
    *(f"rows_per_second_{batch}" for batch in timing.BATCHES),
    *("train_peak_mb", "inference_mb", "process_mb", "model_bytes", "learned_bytes", "rescales"),
)
SECOND = tuple(
    f"second_{name}"
    for name in (
        *("key", "device", "train_seconds", "score_seconds", "latency_p50_ms", "latency_p99_ms"),
        *("latency_calls", f"rows_per_second_{timing.BATCHES[-1]}"),
    )
)
COLUMNS = ("key", *IDENTITY, *COSTS, *SECOND, "error")
TEXTS = ("key", "second_key", "device", "second_device", "error", "rescales", *IDENTITY)


def effort_for(profile: Profile) -> Effort:
    """Long measurements on published data; short ones on synthetic and on people's own data."""
    published = profile.dataset in data.DATASETS and profile.dataset != "synthetic"
    return timing.FULL if published else timing.QUICK


def table(
    profile: Profile,
    *,
    entity: str = "",
    effort: Effort | None = None,
    second: str | None = None,
) -> pd.DataFrame:
    """Measure the profile's detectors on one entity, `typical` unless named: a row each, `COLUMNS`.

    By `effort_for`, unless ``effort`` says otherwise; a quick one measures only `FEW` of them, or
    all where the profile has none of these. ``second`` names a torch device whose figures get
    columns of their own; None looks for one, "" leaves it out. What the published table of the
    profile holds under the same key is taken from there, unless ``LMMOE_FRESH`` is set, then what
    was measured before. A detector that fails has ``error`` and no numbers.
    """
    effort = effort or effort_for(profile)
    second = hardware.second_device() if second is None else second
    series = profile.load(entity or typical(profile))
    published = _published(profile)
    names = list(profile.detectors)
    if effort == timing.QUICK:
        names = [name for name in names if name in FEW] or names
    rows = []
    with progress.bar(len(names), "efficiency", unit="detector") as bar:
        for name in names:
            bar.set_postfix_str(name, refresh=False)
            seed, settings = profile.seeds[0], profile.detectors[name]
            run = Run(series, name, profile.protocols[0], seed, settings)
            rows.append(row(run, effort, second, published))
            bar.update()
    return pd.DataFrame(rows).reindex(columns=list(COLUMNS)).set_index("detector")


def typical(profile: Profile) -> str:
    """Name the first entity that has as many training rows as most, since cost grows with them."""
    lengths = {entity: len(profile.load(entity).train) for entity in profile.present}
    middle = np.median(list(lengths.values()))
    return next(entity for entity, length in lengths.items() if length >= middle)


def row(
    run: Run, effort: Effort, second: str = "", published: dict[str, dict] | None = None
) -> dict[str, object]:
    """Measure one detector, or take what is known: a line of the table."""
    published = published or {}
    head = run.identity | {"effort": effort.name, "measured": measuring.VERSION}
    head |= {"key": records.key(head | asdict(effort))}
    made = PROTOCOLS[run.protocol].detector(run.detector, seed=run.seed, **run.settings)
    try:
        own = _known(published, head["key"], COSTS) or records.kept(
            head["key"], _measured(run, effort, made.settings)
        )
    except child.ChildError as error:
        # One detector that fails must not cost the others; the next start tries it again.
        return head | {"error": str(error)}
    line = head | own
    if not second or "device" not in made.settings:
        return line
    name = records.key({"key": head["key"], "second": hardware.device_name(second)})
    settings = made.settings | {"device": second}
    try:
        other = _known(published, name, SECOND) or records.kept(
            name, _elsewhere(run, effort, settings, name)
        )
    except child.ChildError as error:
        return line | {"error": f"{second}: {error}"}
    return line | other


def _measured(run: Run, effort: Effort, settings: dict[str, object]) -> Callable[[], dict]:
    """What measures a detector on the processor."""

    def measure() -> dict:
        train, test = PROTOCOLS[run.protocol].train(run.series), run.series.test
        with TemporaryDirectory(prefix="lmmoe-") as folder:
            file = Path(folder, "model.safetensors")
            spec = _spec(run, effort, settings) | {"file": str(file)}
            found = child.run(measuring.costs_of, spec, train=train, test=test)
            if file.is_file():
                found |= child.run(measuring.memory_of, spec, rows=test)
        return found | {"device": hardware.cpu_name()}

    return measure


def _elsewhere(
    run: Run, effort: Effort, settings: dict[str, object], key: str
) -> Callable[[], dict]:
    """What measures a detector on another device."""

    def measure() -> dict:
        train, test = PROTOCOLS[run.protocol].train(run.series), run.series.test
        spec = _spec(run, effort, settings)
        found = child.run(measuring.second_of, spec, train=train, test=test)
        found |= {"key": key, "device": hardware.device_name(str(settings["device"]))}
        return {f"second_{name}": value for name, value in found.items()}

    return measure


def _spec(run: Run, effort: Effort, settings: dict[str, object]) -> dict[str, object]:
    given = {name: value for name, value in settings.items() if name != "seed"}
    return {
        "detector": run.detector,
        "seed": run.seed,
        "settings": given,
        "effort": asdict(effort),
    }


def _published(profile: Profile) -> dict[str, dict]:
    """Rows of the profile's published table by key, and by the key of their second device."""
    if os.environ.get("LMMOE_FRESH"):
        return {}
    lines = read(paths.figures(profile.profile) / "efficiency.csv").reset_index()
    lines = lines[lines["error"].isna()].to_dict("records")
    known = {line["key"]: line for line in lines}
    return known | {
        line["second_key"]: line for line in lines if isinstance(line["second_key"], str)
    }


def _known(published: dict[str, dict], key: str, names: tuple[str, ...]) -> dict | None:
    line = published.get(key)
    return {name: line[name] for name in names} if line else None


def read(path: Path) -> pd.DataFrame:
    """Read a table that `table` gave; an empty one where there is no file."""
    empty = pd.DataFrame(columns=list(COLUMNS))
    if not path.is_file():
        return empty.set_index("detector")
    # By itself pandas reads a detector "NA" as nothing, and an entity "01" as 1.
    gaps = {name: [""] for name in (*COLUMNS, "detector") if name not in IDENTITY}
    texts = {name: str for name in TEXTS if name != "rescales"}
    found = pd.read_csv(path, dtype=texts, keep_default_na=False, na_values=gaps)
    return found.reindex(columns=list(COLUMNS)).set_index("detector")
