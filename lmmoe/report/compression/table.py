"""The table of compressed models: measured once an entity, then kept."""

from importlib.metadata import PackageNotFoundError, version

import pandas as pd

from lmmoe import progress
from lmmoe.data import Series
from lmmoe.report.compression import measuring
from lmmoe.report.compression.methods import AS_IS, DESIGN, DISTILLING, LARGE, METHODS, SMALL
from lmmoe.report.deployment import kept
from lmmoe.report.measure import cpu_name
from lmmoe.report.params import Profile
from lmmoe.report.protocol import PROTOCOLS
from lmmoe.report.runs import Run, result

PROTOCOL = "study"  # the large detector trains for minutes, and has been run under this one
# One machine of each group of SMD; of other data the first two entities.
CHOSEN = {"smd": ("machine-1-1", "machine-2-1", "machine-3-2")}
# Elsewhere the way is shown, in seconds: the large detector trained briefly, few methods of it.
BRIEF = {LARGE: {"epochs": 1}}
FEW = tuple(
    method
    for method in METHODS
    if not method.name.startswith("half")
    and (method.base == SMALL or method.kind in (AS_IS, DESIGN, DISTILLING))
)


def entities(profile: Profile) -> list[str]:
    """Choose the profile's entities that models are compressed on."""
    wanted = CHOSEN.get(profile.dataset, tuple(profile.present[:1]))
    return [entity for entity in wanted if entity in profile.present] or profile.present[:1]


def table(profile: Profile) -> pd.DataFrame:
    """Measure every method on the chosen entities: a row each, `measuring.COLUMNS`.

    What the published table knows is not measured again. A method that fails has ``error``.
    """
    keep = kept.Kept(profile.profile, "compression")
    rows, chosen = [], entities(profile)
    with progress.bar(len(chosen), "compression", unit="entity") as bar:
        for entity in chosen:
            bar.set_postfix_str(entity, refresh=False)
            rows += _entity(profile, profile.load(entity), keep)
            bar.update()
    return kept.table(rows, measuring.COLUMNS)


def _entity(profile: Profile, series: Series, keep: kept.Kept) -> list[dict[str, object]]:
    seed = profile.seeds[0]
    whole = profile.dataset in CHOSEN
    given, methods = ({}, METHODS) if whole else (BRIEF, FEW)
    bases = {
        name: Run(series, name, PROTOCOL, seed, given.get(name, {})) for name in (LARGE, SMALL)
    }

    def measure() -> list[dict[str, object]]:
        fitted = {name: result(run).detector for name, run in bases.items()}
        found = measuring.lines(
            series,
            PROTOCOLS[PROTOCOL],
            fitted,
            vus_window=profile.vus_window,
            seed=seed,
            methods=methods,
        )
        return [kept.plain(line | {"device": cpu_name()}) for line in found]

    shown = {"dataset": series.dataset, "entity": series.entity, "protocol": PROTOCOL}
    hidden = {
        "bases": {name: run.identity for name, run in bases.items()},
        "methods": [method.name for method in methods],
        "measured": measuring.VERSION,
        "onnxruntime": _version("onnxruntime"),
    }
    return keep.lines(shown, hidden, measure)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
