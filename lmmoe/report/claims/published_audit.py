"""The audit that a report shows: of what it measured itself, or the published one."""

import pandas as pd

from lmmoe import paths
from lmmoe.report.claims.registry import audit


def audit_at_hand(dataset: str, **measured: pd.DataFrame | None) -> tuple[pd.DataFrame, str]:
    """Audit what a report on SMD measured; for other data, read the audit made on SMD.

    ``measured`` are keywords of `audit`; what a notebook did not measure itself is taken from the
    tables in ``figures/smd``, so that all notebooks of its report judge a claim alike. The second
    value says in words which audit it is. Without any, most claims stay untested.
    """
    file = paths.figures("smd") / "claims.csv"
    if dataset == "smd":
        said = "Judged on what this report measured, and else on what `figures` holds of SMD."
        given = {
            name: table for name, table in measured.items() if table is not None and len(table)
        }
        return audit(**(_published() | given)), said
    if not file.is_file():
        return audit(**_published()), "Judged on what `figures` holds of SMD."
    table = pd.read_csv(file, dtype=str, keep_default_na=False)
    table["measured"] = pd.to_numeric(table["measured"])  # "" becomes NaN
    return table, "These data are not SMD: the claims are held against `figures/smd`."


def _published() -> dict[str, pd.DataFrame | None]:
    from lmmoe.report import efficiency, kept, runs  # which import this package

    smd = paths.figures("smd")
    return {
        "rows": runs.read(smd / "runs.csv"),
        "ablation": runs.read(paths.figures("ablation") / "runs.csv"),
        "efficiency": efficiency.evidence(efficiency.published("smd")),
        "compressed": kept.read(smd / "compression.csv"),
        "generalisation": kept.read(smd / "generalisation.csv"),
    }
