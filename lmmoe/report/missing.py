"""Which jobs of a report have work: those with a run that the published table does not hold.

A job costs seconds before it begins, since it imports torch; most reports are made from a table
that knows every run. The workflow starts this as ``python -m lmmoe.report.missing PROFILE OUT``.
"""

import json
import sys
from pathlib import Path

from lmmoe import paths, progress
from lmmoe.errors import DataError
from lmmoe.report import execute, params, runs
from lmmoe.report.params import Profile


def jobs(profile: Profile) -> list[tuple[int, str]]:
    """Give pass and entity of every job with work, by pass."""
    known, present = runs.published(profile), profile.present
    found = []
    with progress.bar(len(present), "known runs", unit="entity") as bar:
        for entity in present:
            bar.set_postfix_str(entity, refresh=False)
            found += [(part, entity) for part in _parts(profile, entity, known)]
            bar.update()
    return sorted(found, key=lambda job: job[0])


def _parts(profile: Profile, entity: str, known: runs.Known) -> list[int]:
    """Passes in which an entity has a run without a known row."""
    parts = [part for part in range(len(profile.passes) or 1) if profile.plan(entity, part)]
    if all(line["entity"] != entity for line in known.values()):
        return parts
    try:
        series = profile.load(entity)
    except DataError:  # its own job says what is wrong with it
        return parts
    judge = tuple(runs.judged(series, profile.vus_window).values())
    return [
        part
        for part in parts
        if any((run.key, *judge) not in known for run in runs.planned(profile, series, part))
    ]


def main(profile_file: str, out: str) -> int:
    """Write the jobs with work to ``out``, as JSON: ``[[pass, entity], ...]``."""
    execute.die_with_parent()
    execute.log_progress(Path(out).with_suffix(".log"), "known runs")
    found = jobs(params.load(profile_file))
    with paths.replacing(Path(out)) as part:
        part.write_text(json.dumps(found) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except DataError as error:
        sys.exit(f"error: {error}")
