"""What each mistake inside the study's AMAD gives: one fit, scored with its switches changed."""

import hashlib
import json
from contextlib import suppress
from pathlib import Path

import pandas as pd

from lmmoe import paths, progress
from lmmoe.detectors.amad import AMAD, SWITCHES
from lmmoe.metrics import average_precision, best_f1
from lmmoe.report import evaluation
from lmmoe.report.params import Profile
from lmmoe.report.pitfalls.scored import Scored, judgeable
from lmmoe.report.runs import Run

NAME, PROTOCOL, PUBLISHED = "AMAD", "study", "as published"
MENDED = dict.fromkeys(SWITCHES, False)
# Each mistake mended alone, and all of them; the fit is the same.
VARIANTS: dict[str, dict[str, bool]] = {
    PUBLISHED: {},
    "no untrained heads": {"heads": False},
    "forest's sign right": {"wrong_sign": False},
    "causal average": {"centred": False},
    "not scaled over test rows": {"test_scaled": False},
    "all mended": MENDED,
}


def switches(profile: Profile, entities: list[str] | None = None) -> pd.DataFrame:
    """Score every AMAD run that the profile plans under `PROTOCOL` with its switches changed.

    One line per ``variant``, ``entity`` and ``seed``, with plain metrics on the labels as published
    and the study's Point F1 (PA); random scores on the same entities are a variant, too. Empty
    where the profile does not plan AMAD, or nothing is labelled; an entity on which a run fails is
    left out. Runs come from the cache or are computed. Lines are kept under ``results/``, since the
    network scores the test half anew for each variant.
    """
    planned = _planned(profile, entities or profile.present)
    tables = []
    with progress.bar(len(planned), "AMAD's switches", unit="run") as bar:
        for entity, seed in planned:
            series = profile.load(entity)
            made = {name: profile.detectors[name] for name in (NAME, "random")}
            runs = [Run(series, name, PROTOCOL, seed, given) for name, given in made.items()]
            # A run that fails must not cost the others.
            with suppress(ValueError, RuntimeError, MemoryError):
                if judgeable(series):
                    tables.append(_kept(paths.results(profile.profile) / "pitfalls", *runs))
            bar.update()
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _planned(profile: Profile, entities: list[str]) -> list[tuple[str, int]]:
    return [
        (entity, seed)
        for entity in entities
        for name, protocol, seed in profile.plan(entity)
        if (name, protocol) == (NAME, PROTOCOL)
    ]


def _kept(folder: Path, run: Run, chance: Run) -> pd.DataFrame:
    """Give the lines of one run, from the folder where the same question has left them."""
    asked = [
        run.key,
        chance.key,
        evaluation.VERSION,
        VARIANTS,
    ]
    path = folder / f"amad-{hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]}.csv"
    if not path.is_file():
        lines = pd.DataFrame(_lines(Scored(run), Scored(chance)))
        with paths.replacing(path) as part:
            lines.to_csv(part, index=False)
    return pd.read_csv(path, dtype={"entity": str}, keep_default_na=False)  # one may be called NA


def _lines(one: Scored, chance: Scored) -> list[dict[str, object]]:
    fitted = one.detector
    if not isinstance(fitted, AMAD):
        raise TypeError(f"{one.run.detector} is {type(fitted).__name__}, not AMAD")
    rows = one.series.test
    changed = {name: fitted.rescored(rows, **given) for name, given in VARIANTS.items() if given}
    scores = {PUBLISHED: one.scores} | changed | {"random": chance.scores}
    return [
        {
            "variant": name,
            "entity": one.series.entity,
            "seed": one.run.seed,
            "average_precision": average_precision(labels=one.labels, scores=values),
            "best_f1": best_f1(labels=one.labels, scores=values).f1,
            "point_f1_pa": best_f1(labels=one.protocol_labels, scores=values, adjust="point").f1,
        }
        for name, values in scores.items()
    ]
