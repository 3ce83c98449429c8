"""Running the workflow and its notebooks: progress, and nothing left behind when killed."""

import fcntl
import hashlib
import json
import os
import shutil
import sys
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from lmmoe import paths
from lmmoe.errors import DataError
from lmmoe.report.profile import Profile

SOURCES = (".py", ".csv", ".mplstyle", ".j2", ".css", ".js")


def start(file: Path, profile: Profile, *, cores: int, dry_run: bool, fresh: bool) -> int:
    """Become Snakemake on a checked profile; a second start beside a running one is refused.

    ``fresh`` computes every run here instead of taking what holds from the published table. The
    lock is held by the kernel for this process alone, so that ``kill -9`` frees it, unlike
    Snakemake's own.
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
        busy = "a report is being made here already"
        raise DataError(busy, file=home, hint="Wait for it, or stop it") from error
    if not dry_run:
        _forget(profile, everything=fresh)
    if fresh:
        os.environ["LMMOE_FRESH"] = "1"
    if os.environ.get("LMMOE_DATA"):  # jobs start in other folders
        os.environ["LMMOE_DATA"] = str(Path(os.environ["LMMOE_DATA"]).expanduser().resolve())
    words = f"-m snakemake --cores {cores} --nolock --rerun-incomplete --keep-going".split()
    words += ["--scheduler", "greedy", *(["--dry-run"] if dry_run else [])]  # the other is slow
    words += ["--quiet", "host", "reason", "--config", f"params={file.resolve()}"]
    os.chdir(home)
    os.execv(sys.executable, [sys.executable, *words])


def with_runs(profile: Profile) -> list[Profile]:
    """The profiles whose runs a report has jobs for: its own, on SMD those of the ablation, too."""
    if profile.dataset != "smd":
        return [profile]
    from lmmoe.report import ablation  # imports torch for its settings

    return [profile, *ablation.whole(profile)]


def _forget(profile: Profile, *, everything: bool) -> None:
    """Delete job tables with a run to try again: bad data stays bad, a lack of memory passes."""
    from lmmoe.report import experiment, store  # pandas: nothing else here needs it

    for each in with_runs(profile):
        if everything:
            shutil.rmtree(paths.results(each.profile) / "runs", ignore_errors=True)
        for path in experiment.job_tables(each.profile):
            errors = store.read(path, experiment.ALL)["error"].dropna()
            if not errors.str.startswith(DataError.__name__).all():
                path.unlink()


def code_of_module() -> str:
    """Hash the files of lmmoe that a result may depend on."""
    found = sorted(path for path in (paths.home() / "lmmoe").rglob("*") if path.suffix in SOURCES)
    return hashlib.sha256(b"".join(path.read_bytes() for path in found)).hexdigest()


def code_of(notebook: str | Path) -> str:
    """Hash a notebook's cells without their outputs: running it in place changes nothing."""
    cells = json.loads(Path(notebook).read_bytes())["cells"]
    text = "".join("".join([cell["cell_type"], *cell["source"]]) for cell in cells)
    return hashlib.sha256(text.encode()).hexdigest()


def run(notebook: Path, out: Path, *, parameters: dict[str, object]) -> None:
    """Execute ``notebook`` with ``parameters``, and write it to ``out``.

    Raises papermill's error where a cell fails; the notebook then lies beside ``out`` as
    ``*.failed.ipynb``. Only a `DataError` leaves a notebook as far as it came: one bad entity must
    not cost the report of the others.
    """
    import papermill
    from traitlets.config import Config

    title = " ".join([notebook.stem, str(parameters.get("entity", ""))]).strip()
    log_progress(out.with_suffix(".log"), title)
    failed = out.with_name(f"{out.stem}.failed.ipynb")
    how = {"kernel_name": "python3", "cwd": notebook.parent, "progress_bar": False}
    how |= {"shutdown_kernel": "immediate"}
    how |= {"extra_arguments": ["--log-level=ERROR"]}  # the kernel's own, not the cells'
    with paths.replacing(out) as part, TemporaryDirectory(prefix="kernel-") as folder:
        # Through files: another kernel may take a port before this one does.
        sockets = {"transport": "ipc", "connection_file": f"{folder}/kernel.json"}
        how["config"] = Config({"ConnectionFileMixin": sockets})
        try:
            papermill.execute_notebook(notebook, part, parameters, **how)
        except papermill.PapermillExecutionError as error:
            _say(title, f"{error.ename}: {error.evalue}")
            if error.ename != "DataError":  # bad input is a result, and the page shows it
                _say(title, f"failed; the notebook with the error is {part.rename(failed)}")
                raise
    failed.unlink(missing_ok=True)


def log_progress(log: Path, title: str) -> None:
    """Send progress bars of this process and its children to ``log``, and to a terminal."""
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("", encoding="utf-8")
    os.environ["LMMOE_PROGRESS"] = str(log.resolve())
    if sys.stderr.isatty():
        threading.Thread(target=_follow, args=(log, title), daemon=True).start()


def _follow(log: Path, title: str) -> None:
    with log.open(encoding="utf-8") as file:
        while True:
            for line in file:
                _say(title, line.strip())
            time.sleep(0.5)


def _say(title: str, text: str) -> None:
    """Print a line; in one write, so that lines of parallel jobs do not mix."""
    sys.stderr.write(f"  {title}: {text}\n")
