"""Which variants run where: the files ``params/ablation*.yaml``."""

from dataclasses import replace

import pandas as pd

from lmmoe import paths
from lmmoe.errors import DataError
from lmmoe.report import params, runs
from lmmoe.report.ablation.forecast import forecast_errors
from lmmoe.report.params import Profile

PUBLISHED = "smd"  # the profile whose report holds the whole ablation
WHOLE, SMALL = "ablation", "ablation-quick"
OPINIONS = ("ablation-asd", "ablation-synthetic")  # the same variants on other data
FEW = 2  # entities of a small ablation


def plan(run: Profile) -> Profile:
    """Give the profile of the ablation in the report of ``run``.

    That of SMD has the whole one (`whole`), on the machines that are present; any other report a
    small one on its first entities, in its own folders.
    """
    if run.profile == PUBLISHED and run.dataset == (found := named(WHOLE)).dataset:
        if (here := _at_hand(found, run.present)) is not None:
            return replace(here, root=run.root)
    own = ("profile", "dataset", "root", "reading", "vus_window")
    kept = {name: getattr(run, name) for name in own}
    return replace(named(SMALL), **kept, entities=run.present[:FEW])


def opinions(plan: Profile) -> dict[str, Profile]:
    """Give the plans of the same variants on other data, by data set; none beside a small one."""
    if plan.profile != WHOLE:
        return {}
    return {found.dataset: replace(found, root=plan.root) for found in map(named, OPINIONS)}


def whole(run: Profile) -> list[Profile]:
    """Give all plans that have a file of their own and data here: jobs run these.

    None in a report with a small ablation, which needs no jobs.
    """
    main = plan(run)
    others = [one for one in opinions(main).values() if present(one)]
    return [main, *others] if main.profile == WHOLE else []


def present(plan: Profile) -> bool:
    """Whether the data of a plan are here."""
    try:
        return bool(plan.present)
    except DataError:
        return False


def collected(plan: Profile, *, publish: bool) -> tuple[pd.DataFrame, pd.Series]:
    """Give the rows of all runs of a plan, and their forecast errors by key.

    What is missing is computed; where the data are not here, the published rows are all there is.
    With ``publish``, those of a plan that has a file of its own are added to the tables in
    ``figures/<plan>``.
    """
    files = [paths.figures(plan.profile) / name for name in ("runs.csv", "forecast_errors.csv")]
    rows = runs.table(plan) if present(plan) else runs.read(files[0])
    known = pd.read_csv(files[1], index_col="key") if files[1].is_file() else None
    errors = forecast_errors(rows, plan, None if known is None else known["forecast_error"])
    if publish and plan.profile in (WHOLE, *OPINIONS):
        runs.accumulate(rows, files[0])
        with paths.replacing(files[1]) as part:
            errors.to_csv(part, float_format="%.10g")
    return rows, errors


def named(name: str) -> Profile:
    """Read ``params/NAME.yaml``."""
    return params.load(paths.home() / "params" / f"{name}.yaml")


def _at_hand(whole: Profile, here: list[str]) -> Profile | None:
    """Leave machines out that are not here, and passes that then have none; None without any."""
    passes = []
    for one in whole.passes:
        left = [name for name in one.get("entities", here) if name in here]
        if left:
            passes.append(one | ({"entities": left} if "entities" in one else {}))
    return replace(whole, entities=here, passes=passes) if passes else None
