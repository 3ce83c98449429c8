"""Do large networks overfit? Forecast errors on rows that were learned from, and on later ones.

Under the study's protocol nothing stops a training early, and the last fifth of the training half
is never learned from: later rows, taken as normal, of the same machine.
"""

import numpy as np
import pandas as pd

from lmmoe.report import experiment
from lmmoe.report.experiment import PROTOCOLS, Run, result
from lmmoe.report.profile import Profile

# Under this protocol each scores a row by its mean squared forecast error, in z-scores.
FORECASTERS = ("linear", "CAD-as-run", "LightMMoE", "CAD", "HMMoE")
BASE = "last value"
FIRST = 20  # rows that are left out at the start, more where a window is longer
NUMBERS = ("parameters", "seen", "unseen")
COLUMNS = ["dataset", "entity", "detector", "settings", "seed", *NUMBERS, "error"]


def table(profile: Profile) -> pd.DataFrame:
    """Measure each forecaster of the profile with the first seed: key and `COLUMNS`.

    ``seen`` and ``unseen`` are mean squared errors over the rows that were learned from (CAD-as-run
    draws 10,000 windows of them) and over the later ones, as shares of what repeating the last
    value gives there; NaN where these rows do not move.
    """
    how = {"first": FIRST, "columns": COLUMNS}
    return experiment.measurements(
        profile,
        "generalisation",
        wanted=lambda run: run.protocol == "study" and run.detector in FORECASTERS,
        hidden=lambda run: how | {"base": Run(run.series, BASE, run.protocol).key},
        measure=_measured,
    ).reindex(columns=["key", *COLUMNS])


def _measured(run: Run) -> list[dict[str, object]]:
    protocol, rows, model = PROTOCOLS[run.protocol], run.series.train, result(run).detector
    learned = protocol.train(run.series)
    base = protocol.detector(BASE).fit(learned).decision_function(rows)
    errors, line = model.decision_function(rows), {"parameters": model.parameters}
    parts = slice(max(FIRST, model.unscored), len(learned)), slice(len(learned), None)
    for name, part in zip(("seen", "unseen"), parts, strict=True):
        line[name] = float(errors[part].mean() / (base[part].mean() or np.nan))
    return [line]


def summary(measured: pd.DataFrame) -> pd.DataFrame:
    """Medians over the entities of all, by detector with its own settings, the smallest first.

    A median, since on a machine whose load changed any forecast may be off by any factor.
    """
    good = measured[measured["settings"] == "{}"].dropna(subset=["seen", "unseen"])
    wide = good.pivot(index="entity", columns="detector", values=list(NUMBERS)).dropna()
    table = wide.median().unstack(0).reindex(columns=list(NUMBERS))
    return table.assign(entities=len(wide)).sort_values("parameters", kind="stable")
