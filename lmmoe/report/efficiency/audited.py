"""What was measured, as the audit of the study's claims wants it."""

import pandas as pd

from lmmoe import paths
from lmmoe.report.efficiency.measurements import read
from lmmoe.report.efficiency.prices import BATCH


def published(profile: str) -> pd.DataFrame:
    """Read a profile's published table (`table`); an empty one where there is none."""
    return read(paths.figures(profile) / "efficiency.csv")


def evidence(table: pd.DataFrame) -> pd.DataFrame | None:
    """Give the columns that `lmmoe.report.claims.audit` asks for; None where nothing was measured.

    "latency_ms": the median call that scores one row with its window. "samples_per_second": 256
    rows by one call. "inference_mb": to load the model and score 256 rows, beyond the imports;
    "process_mb" with them. One thread each.
    """
    table = table[table["error"].isna()]
    if table.empty:
        return None
    found = {
        "latency_ms": table["latency_p50_ms"],
        "samples_per_second": table[BATCH],
        "inference_mb": table["inference_mb"],
        "process_mb": table["process_mb"],
    }
    return pd.DataFrame(found).rename_axis("detector").reset_index()
