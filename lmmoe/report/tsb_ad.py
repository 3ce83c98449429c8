"""Our detectors on TSB-AD's split of SMD, beside what others reach there.

TSB-AD-M (Liu and Paparrizos, NeurIPS 2024) takes the test half of a machine from ``first_row`` on
for a whole series: a detector learns from its first ``train_rows`` and scores all of it; quality is
VUS-PR with the series' own buffer. ``published/tsb_ad.csv`` has the 13 of its 20 series whose
machines are known here, and what twelve methods reach on each (the leaderboard's repository,
TheDatumOrg/TSB-AD at 8763009, and its successor's tables of July 2026).
"""

from collections.abc import Iterator
from dataclasses import replace

import pandas as pd

from lmmoe.data import Series
from lmmoe.metrics import vus
from lmmoe.report import store
from lmmoe.report.experiment import FAILURES, Run, result
from lmmoe.report.measure import each
from lmmoe.report.names import COSTLY
from lmmoe.report.profile import Profile, detector_of
from lmmoe.report.statistics import paired

OURS = "ThreeViews"
PROTOCOL = ("first_row", "train_rows", "vus_window")
OTHERWISE = ("Time-RCD",)  # its values cover the rows after training alone, with another buffer


def published() -> pd.DataFrame:
    """Give the series by entity: `PROTOCOL`, then VUS-PR of each published method."""
    return store.published("tsb_ad", index_col="entity").drop(columns="id")


def series_of(profile: Profile) -> Iterator[tuple[Series, int]]:
    """Cut the series whose machines a profile has; give each with its VUS buffer in rows."""
    for entity, line in published().iterrows():
        if entity in profile.present:
            whole, first = profile.load(entity), int(line["first_row"])
            rows = whole.test[first:]
            halves = {"train": rows[: int(line["train_rows"])], "test": rows}
            labels = whole.labels[first:]
            yield replace(whole, **halves, labels=labels, causes=None), int(line["vus_window"])


def table(profile: Profile) -> pd.DataFrame:
    """Judge the detectors of a profile on every series, first seed: a row each, ``vus_pr``.

    What fails, mostly for too few rows, has ``error``. `names.COSTLY` are not judged as yet.
    """
    keep, lines, cut = store.Table(profile.profile, "tsb_ad"), [], list(series_of(profile))
    names = [name for name in profile.detectors if name not in COSTLY]
    for name in each(names, "TSB-AD", "detector"):
        for series, window in cut:
            run = Run(series, detector_of(name), "ours", profile.seeds[0], profile.detectors[name])
            shown = {key: run.identity[key] for key in ("entity", "detector", "settings", "seed")}

            def compute(run: Run = run, window: int = window) -> list[store.Line]:
                found = vus(labels=run.series.labels, scores=result(run).scores, window=window)
                return [{"vus_pr": found.pr}]

            try:
                lines += keep.lines(shown, {"run": run.key, "vus_window": window}, compute)
            except FAILURES as error:
                lines.append(shown | {"error": f"{type(error).__name__}: {error}"})
    return pd.DataFrame(lines).reindex(columns=["key", "entity", "detector", "vus_pr", "error"])


def compared(rows: pd.DataFrame) -> pd.DataFrame:
    """Set ours beside the published methods: mean VUS-PR over the series, the best first.

    ``difference`` is ThreeViews' mean minus the method's over the series of both, with its 95 %
    bootstrap interval ``low`` and ``high``; ``wins`` counts the series on which ThreeViews is
    better. ``whose`` is "ours", "published", or "published, otherwise measured" (`OTHERWISE`).
    """
    ours = rows.pivot(index="entity", columns="detector", values="vus_pr")
    theirs = published().drop(columns=[*PROTOCOL]).reindex(ours.index)
    lines = {}
    for whose, values in (("ours", ours), ("published", theirs)):
        for name, column in values.items():
            found = paired(ours[OURS], column)
            lines[name if whose == "ours" else f"{name} (published)"] = {
                "vus_pr": column.mean(),
                "whose": f"{whose}, otherwise measured" if name in OTHERWISE else whose,
                **{key: getattr(found, key) for key in ("difference", "low", "high", "wins")},
                "series": found.entities,
            }
    made = pd.DataFrame.from_dict(lines, orient="index").rename_axis("method")
    return made.sort_values("vus_pr", ascending=False)
