"""What the Snakefile and the command line know about the report: notebooks, files, the lock."""

import fcntl
import hashlib
import json
import os
import sys
from base64 import urlsafe_b64decode
from pathlib import Path

from lmmoe import paths
from lmmoe.errors import DataError
from lmmoe.report import ablation, execute, params, runs
from lmmoe.report.params import Profile


def code_of(notebook: Path) -> str:
    """Hash a notebook's cells without their outputs: running it in place changes nothing."""
    cells = json.loads(notebook.read_bytes())["cells"]  # nbformat takes 2 s to import
    text = "\n".join(f"{cell['cell_type']}\n{''.join(cell['source'])}" for cell in cells)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def package_files() -> list[str]:
    """Files of lmmoe that a result may depend on."""
    folder = paths.home() / "lmmoe"
    found = [
        path
        for kind in ("py", "csv", "mplstyle", "j2", "css", "js")
        for path in folder.rglob(f"*.{kind}")
    ]
    return sorted(str(path.relative_to(paths.home())) for path in found)


def start(params_file: Path, *, cores: int, dry_run: bool = False, fresh: bool = False) -> int:
    """Become Snakemake on a checked profile; a second start beside a running one is refused.

    ``fresh`` computes every run here instead of taking what holds from the published table.

    The lock is held by the kernel for this process alone, so ``kill -9`` frees it: Snakemake's own
    lock files would have to be removed by hand.
    """
    home = paths.home()
    if not (home / "Snakefile").is_file():
        raise DataError("no Snakefile here", file=home, hint="Run this inside the repository")
    lock = os.open(home / ".report.lock", os.O_CREAT | os.O_RDWR)
    # Survives exec, but not the start of a child, which closes what it does not know.
    os.set_inheritable(lock, True)  # noqa: FBT003
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise DataError(
            "a report is being made here already", file=home, hint="Wait for it, or stop it"
        ) from error
    words = ["-m", "snakemake", "--cores", str(cores), "--nolock", "--rerun-incomplete"]
    words += [
        "--quiet",
        "host",
        "reason",
        "--keep-going",
        "--config",
        f"params={params_file.resolve()}",
    ]
    if fresh:
        os.environ["LMMOE_FRESH"] = "1"
        words += ["--forcerun", "known", "known_ablation"]
    if not dry_run:
        _remove_unfinished(home)
        forget = runs.forget if fresh else runs.forget_failures
        profile = params.load(params_file)
        for each in (profile, *ablation.whole(profile)):
            forget(each)
    if os.environ.get("LMMOE_DATA"):  # jobs start in other folders
        os.environ["LMMOE_DATA"] = str(Path(os.environ["LMMOE_DATA"]).expanduser().resolve())
    os.chdir(home)
    os.execv(sys.executable, [sys.executable, *words, *(["--dry-run"] if dry_run else [])])


def _remove_unfinished(home: Path) -> None:
    """Remove outputs of jobs that were killed.

    Snakemake marks them, but looks before it knows what a checkpoint asks for: such a job's output
    would pass for finished, without a record of what it was made from.
    """
    marks = home / ".snakemake" / "incomplete"
    for mark in [path for path in marks.rglob("*") if path.is_file()]:
        # A long name is cut into folders that begin with "@".
        name = "".join(part.removeprefix("@") for part in mark.relative_to(marks).parts)
        (home / urlsafe_b64decode(name).decode()).unlink(missing_ok=True)


def build_page(profile: Profile, out: Path) -> Path:
    """Join a profile's executed notebooks to one HTML page; entities after the first are folded."""
    execute.without_grammars()
    from lmmoe.report.page import Section, build

    results = paths.results(profile.profile)
    facts = json.loads((paths.figures(profile.profile) / "provenance.json").read_text("utf-8"))
    folder = results / "02_training"
    entities = [
        Section(
            entity, folder / f"{entity}.ipynb", folded=number > 0, group="2. One model, one entity"
        )
        for number, entity in enumerate(profile.present)
    ]
    sections = [
        Section("1. The data", results / "01_data_exploration.ipynb"),
        *entities,
        Section("3. Ablation", results / "03_ablation.ipynb"),
        Section("4. Cost", results / "04_efficiency.ipynb"),
        Section("5. Comparison", results / "05_comparison.ipynb"),
        Section("6. Evaluation pitfalls", results / "06_evaluation_pitfalls.ipynb"),
        Section("7. Deployment", results / "07_deployment.ipynb"),
    ]
    shown = {"profile": profile.profile, "data set": profile.dataset, "runs": str(facts["runs"])}
    shown |= {name: str(facts[name]) for name in ("commit", "created")}
    title = "Anomaly detection in multivariate time series"
    note = "Synthetic data: generated, not recorded." if profile.dataset == "synthetic" else ""
    return build(sections, out, title=title, subtitle=note, facts=shown)
