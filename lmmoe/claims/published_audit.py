"""The audit that a report shows: of its own rows, or the published one."""

import pandas as pd

from lmmoe import paths
from lmmoe.claims.registry import audit


def audit_at_hand(rows: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Audit rows of SMD; for rows of other data, read the audit that was made on SMD.

    What the ablation and the measurements of cost found on SMD counts too, where it is published.
    The second value says in words which audit it is. Without either, rows that are not of SMD leave
    most claims untested.
    """
    file = paths.figures("smd") / "claims.csv"
    if (rows["dataset"] == "smd").any() or not file.is_file():
        return audit(rows, **_published()), "Judged on the rows of this report."
    table = pd.read_csv(file, dtype=str, keep_default_na=False)
    table["measured"] = pd.to_numeric(table["measured"])  # "" becomes NaN
    return table, "These rows are not of SMD: below is the audit published in `figures/smd`."


def _published() -> dict[str, pd.DataFrame | None]:
    from lmmoe import efficiency, runs  # which import this package

    ablation = runs.read(paths.figures("ablation") / "runs.csv")
    return {
        "ablation": None if ablation.empty else ablation,
        "efficiency": efficiency.evidence(efficiency.published("smd")),
    }
