"""What `lmmoe.report.generalisation` measured, as a table and in a sentence."""

import pandas as pd

from lmmoe.report.plots.style import title


def summary(measured: pd.DataFrame) -> pd.DataFrame:
    """Medians over the entities of all, by detector with its own settings, the smallest first.

    Columns ``parameters``, ``seen``, ``unseen``, ``gap`` (unseen over learned) and ``entities``.
    A median, since on a machine whose load changed any forecast may be off by any factor.
    """
    good = measured[measured["error"].isna() & (measured["settings"] == "{}")].assign(
        gap=lambda t: t["unseen"] / t["seen"]
    )
    good = good.dropna(subset=["seen", "unseen"])
    counts = good.groupby("entity")["detector"].nunique()
    good = good[good["entity"].isin(counts.index[counts == good["detector"].nunique()])]
    names = ["parameters", "seen", "unseen", "gap"]
    medians = good.groupby("detector")[names].median()
    medians["entities"] = good.groupby("detector")["entity"].nunique()
    return medians.sort_values("parameters", kind="stable")


def people(table: pd.DataFrame) -> pd.DataFrame:
    """Give the summary under the names that people read."""
    names = {"seen": "error on learned rows", "unseen": "error on later rows"}
    names |= {"gap": "later over learned"}
    return table.rename(columns=names, index=title).rename_axis("detector").round(2)


def in_words(table: pd.DataFrame) -> str:
    """Tell from a `summary` what size changes: a sentence or two."""
    if table.empty:
        return "No forecaster has errors on the entities of all: none was run, or all failed."
    least, most = table.iloc[0], table.iloc[-1]
    if len(table) == 1:
        return (
            f"{title(table.index[0])}, medians of {least['entities']:.0f} entities: "
            f"{least['seen']:.2f} of the last value's error on rows that were learned from, "
            f"{least['unseen']:.2f} on later ones."
        )
    best = table["unseen"].idxmin()
    return (
        f"Medians of {least['entities']:.0f} entities. From {title(table.index[0])} "
        f"({least['parameters']:,.0f} parameters) to {title(table.index[-1])} "
        f"({most['parameters']:,.0f}) the error on rows that were learned from goes from "
        f"{least['seen']:.2f} to {most['seen']:.2f} of the last value's, on later rows from "
        f"{least['unseen']:.2f} to {most['unseen']:.2f}. {title(best)} forecasts later rows best."
    )
