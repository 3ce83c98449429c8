"""Do large networks overfit? Forecast errors on rows that were learned from, and on later ones.

Under the study's protocol nothing stops a training early, and the last fifth of the training half
is never learned from: later rows, taken as normal, of the same machine.
"""

import numpy as np
import pandas as pd

from lmmoe.data.series import Floats
from lmmoe.report import kept
from lmmoe.report.params import Profile
from lmmoe.report.protocol import PROTOCOLS
from lmmoe.report.runs import Run, result

PROTOCOL = "study"
# Under this protocol each scores a row by its mean squared forecast error, in z-scores.
FORECASTERS = ("linear", "CAD-as-run", "LightMMoE", "CAD", "HMMoE")
BASE = "last value"
FIRST = 20  # rows that are left out at the start, more where a window is longer
COLUMNS = (
    *("dataset", "entity", "detector", "settings", "seed"),
    *("parameters", "seen", "unseen", "error"),
)


def table(profile: Profile) -> pd.DataFrame:
    """Measure every forecaster that the profile runs, with its first seed: `COLUMNS`.

    ``seen`` and ``unseen`` are mean squared errors over the rows that were learned from (CAD-as-run
    draws 10,000 windows of them) and over the later ones, as shares of what repeating the last
    value gives there. A detector that fails has ``error``. What the published table knows is not
    measured again.
    """
    title = "forecast errors"
    found = kept.of_runs(profile, "generalisation", title, _wanted, _hidden, _measured)
    return kept.table(found, COLUMNS)


def _wanted(run: Run) -> bool:
    return run.protocol == PROTOCOL and run.detector in FORECASTERS


def _hidden(run: Run) -> dict[str, object]:
    base = Run(run.series, BASE, run.protocol)
    return {"base": base.key, "first": FIRST, "columns": COLUMNS}


def _measured(run: Run) -> list[dict[str, object]]:
    protocol, rows = PROTOCOLS[run.protocol], run.series.train
    fitted = result(run).detector
    plain = protocol.detector(BASE).fit(protocol.train(run.series))
    cut = len(protocol.train(run.series))
    errors = [one.decision_function(rows) for one in (fitted, plain)]
    first = max(FIRST, fitted.unscored)
    parts = {"seen": slice(first, cut), "unseen": slice(cut, None)}
    shares = {name: share(*(one[part] for one in errors)) for name, part in parts.items()}
    return [{"parameters": fitted.parameters} | shares]


def share(errors: Floats, base: Floats) -> float:
    """Divide one mean error by another; NaN where the other is 0, on rows that do not move."""
    return float(errors.mean() / base.mean()) if base.mean() > 0 else np.nan
