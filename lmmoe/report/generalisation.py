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
COLUMNS = ("dataset", "entity", "detector", "settings", "seed", *NUMBERS, "error")


def table(profile: Profile) -> pd.DataFrame:
    """Measure every forecaster that the profile runs, with its first seed: key and `COLUMNS`.

    ``seen`` and ``unseen`` are mean squared errors over the rows that were learned from (CAD-as-run
    draws 10,000 windows of them) and over the later ones, as shares of what repeating the last
    value gives there; NaN where these rows do not move. A detector that fails has ``error``. What
    the published table knows is not measured again.
    """

    def wanted(run: Run) -> bool:
        return run.protocol == "study" and run.detector in FORECASTERS

    def hidden(run: Run) -> dict[str, object]:
        base = Run(run.series, BASE, run.protocol)
        return {"base": base.key, "first": FIRST, "columns": COLUMNS}

    found = experiment.measurements(profile, "generalisation", wanted, hidden, _measured)
    return pd.DataFrame(found).reindex(columns=["key", *COLUMNS])


def _measured(run: Run) -> list[dict[str, object]]:
    protocol, rows = PROTOCOLS[run.protocol], run.series.train
    learned, fitted = protocol.train(run.series), result(run).detector
    base = protocol.detector(BASE).fit(learned).decision_function(rows)
    errors, first, cut = fitted.decision_function(rows), fitted.unscored, len(learned)
    line: dict[str, object] = {"parameters": fitted.parameters}
    for name, part in (("seen", slice(max(FIRST, first), cut)), ("unseen", slice(cut, None))):
        least = base[part].mean()
        line[name] = float(errors[part].mean() / least) if least > 0 else np.nan
    return [line]


def summary(measured: pd.DataFrame) -> pd.DataFrame:
    """Medians over the entities of all, by detector with its own settings, the smallest first.

    A median, since on a machine whose load changed any forecast may be off by any factor.
    """
    good = measured[measured["settings"] == "{}"].dropna(subset=["seen", "unseen"])
    shared = good.groupby("entity")["detector"].nunique() == good["detector"].nunique()
    groups = good[good["entity"].isin(shared.index[shared])].groupby("detector")
    medians = groups[list(NUMBERS)].median().join(groups.size().rename("entities"))
    return medians.sort_values("parameters", kind="stable")
