"""Where a result comes from: commit, versions, data, parameters, times."""

import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

import pandas as pd

from lmmoe import paths
from lmmoe.report import params

PACKAGES = (
    *("lmmoe", "torch", "numpy", "pandas", "scikit-learn", "scipy"),
    *("matplotlib", "papermill", "snakemake"),
)


def record(profile: params.Profile, rows: pd.DataFrame) -> dict[str, object]:
    """Everything that a reader needs to get the same tables again."""
    seconds = rows[["train_seconds", "score_seconds"]].sum()
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {name: _version(name) for name in PACKAGES},
        "parameters": params.overrides(profile),
        "data": dict(zip(rows["entity"], rows["data"], strict=True)),
        "seeds": sorted({int(seed) for seed in rows["seed"]}),
        "detector_versions": dict(zip(rows["detector"], rows["version"], strict=True)),
        "runs": len(rows),
        "failed": int(rows["error"].notna().sum()),
        "seconds": {name: round(float(value), 1) for name, value in seconds.items()},
    }


def commit() -> str:
    """The commit of the working tree, ``-dirty`` where code differs from it, else "unknown"."""
    try:
        head = _git("rev-parse", "HEAD")
        changed = _git("status", "--porcelain", "--", "lmmoe", "notebooks", "params", "Snakefile")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{head}-dirty" if changed else head


def _git(*words: str) -> str:
    done = subprocess.run(
        ["git", *words], cwd=paths.home(), capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
