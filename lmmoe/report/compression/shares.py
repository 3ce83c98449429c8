"""What each way of making a model smaller keeps of its base, as shares."""

import pandas as pd

from lmmoe.report.compression.measuring import QUALITY
from lmmoe.report.compression.methods import AS_IS


def kept_shares(compressed: pd.DataFrame) -> pd.DataFrame:
    """Divide each method's numbers by its base's: by method, from `report.compression.table.table`.

    Columns ``base``, ``kind``, ``entities``; ``parameters``, ``bytes`` and metrics as shares of
    the base's, ``speed`` as a multiple. The controls are there once for each base. Both are
    averaged over the method's entities first (a ratio of means): a mean of ratios would be ruled by
    the entity on which the base finds least.
    """
    good = compressed[compressed["error"].isna()]
    numbers = ["parameters", "bytes", *[name for name in good if name in QUALITY], "speed"]
    parts = []
    for base in dict.fromkeys(good.loc[good["kind"] == AS_IS, "base"]):
        own = good[(good["base"] == base) | (good["kind"] == "control")]
        whole = own[own["method"] == base].set_index("entity")[numbers]
        beside = whole.reindex(own["entity"]).set_axis(own.index).assign(method=own["method"])
        means, against = (
            part.groupby("method", sort=False)[numbers].mean() for part in (own, beside)
        )
        shares = means / against
        shares["speed"] = own.groupby("method", sort=False)["speed"].median()
        kinds = own.groupby("method", sort=False)["kind"].first()
        shares.insert(0, "base", base)
        shares.insert(1, "kind", kinds)
        shares.insert(2, "entities", own.groupby("method", sort=False)["entity"].nunique())
        parts.append(shares)
    none = pd.DataFrame(
        columns=["base", "kind", "entities", *numbers], index=pd.Index([], dtype=str)
    )
    return pd.concat(parts) if parts else none
