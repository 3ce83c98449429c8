"""Running the workflow and its notebooks: progress, and nothing left behind when killed."""

import fcntl
import hashlib
import json
import os
import platform
import shutil
import sys
import threading
import time
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from lmmoe import paths
from lmmoe.errors import DataError

if TYPE_CHECKING:
    from lmmoe.report.profile import Profile


def start(
    file: Path, profile: "Profile", *, cores: int, cluster: str | None, dry_run: bool, fresh: bool
) -> int:
    """Become Snakemake on a checked profile; a second start beside a running one is refused.

    ``cluster`` names a folder of ``profiles/`` and the executor that sends jobs to other machines.
    ``fresh`` computes every run anew. The lock is the kernel's, for this process alone, so that
    ``kill -9`` frees it, unlike Snakemake's own.
    """
    home = paths.home()
    if not (home / "Snakefile").is_file():
        raise DataError("no Snakefile here", file=home, hint="Run this inside the repository")
    _lock(home / ".report.lock")
    if not dry_run:
        _forget(profile, everything=fresh)
    if fresh:
        os.environ["LMMOE_FRESH"] = "1"
    if os.environ.get("LMMOE_DATA"):  # jobs start in other folders
        os.environ["LMMOE_DATA"] = str(Path(os.environ["LMMOE_DATA"]).expanduser().resolve())
    where = ["--cores", str(cores)]
    if cluster:
        where = ["--profile", str(home / "profiles" / cluster)]
        if find_spec(plugin := f"snakemake_executor_plugin_{cluster}") is None:
            lack = f"{plugin.replace('_', '-')} is not installed, which a report there needs"
            raise DataError(lack, hint=f"Run {sys.executable} -m pip install -e '.[cluster]'")
    words = "-m snakemake --nolock --rerun-incomplete --keep-going --scheduler greedy".split()
    words += [*where, *(["--dry-run"] if dry_run else []), "--quiet", "host", "reason"]
    # Snakemake reads the value as YAML.
    words += ["--config", f"params={json.dumps(os.path.relpath(home / file, home))}"]
    os.chdir(home)
    os.execv(sys.executable, [sys.executable, *words])


def _lock(file: Path) -> None:
    """Hold a lock for as long as this process lives."""
    try:
        lock = os.open(file, os.O_CREAT | os.O_RDWR, 0o666)
        # Survives exec, but not the start of a child, which closes what it does not know.
        os.set_inheritable(lock, True)  # noqa: FBT003
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.truncate(lock, 0)
        os.write(lock, f"process {os.getpid()} on {platform.node()}".encode())
    except BlockingIOError as error:
        busy = f"a report is being made here already, by {os.read(lock, 200).decode()}"
        raise DataError(busy, file=file.parent, hint="Wait for it, or stop it") from error
    except OSError as error:
        lack = f"a report cannot be written here ({error.strerror})"
        raise DataError(lack, file=file.parent) from error


def with_runs(profile: "Profile") -> "list[Profile]":
    """The profiles whose runs a report has jobs for: its own, on SMD those of the ablation, too."""
    if not profile.profile == profile.dataset == "smd":
        return [profile]
    from lmmoe import data
    from lmmoe.report import ablation  # imports torch for its settings

    return [profile, *(one for one in ablation.plans(profile) if data.entities(*one._place))]


def _forget(profile: "Profile", *, everything: bool) -> None:
    """Delete job tables with a run to try again: bad data stays bad, a lack of memory passes."""
    from lmmoe.report import experiment, store  # pandas: nothing else here needs it

    for each in with_runs(profile):
        if everything:
            shutil.rmtree(paths.results(each.profile) / "runs", ignore_errors=True)
        for path in experiment.job_tables(each.profile):
            errors = store.read(path, experiment.ALL)["error"].dropna()
            if not errors.str.startswith(DataError.__name__).all():
                path.unlink()


def code_of(notebook: str | Path) -> str:
    """Hash a notebook's cells without their outputs: running it in place changes nothing."""
    cells = json.loads(Path(notebook).read_bytes())["cells"]
    text = "".join("".join([cell["cell_type"], *cell["source"]]) for cell in cells)
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def digest(*files: Path) -> str:
    """Hash files, for Snakemake, which takes no path that holds braces."""
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def run(notebook: Path, out: Path, *, parameters: dict[str, object]) -> None:
    """Execute ``notebook`` with ``parameters``, and write it to ``out``.

    A cell's `DataError` leaves it as far as it came: one bad entity must not cost the others their
    report. Raises `DataError` where a cell fails otherwise; it then lies beside as *.failed.ipynb.
    """
    import papermill
    from traitlets.config import Config

    title = " ".join([notebook.stem, str(parameters.get("entity", ""))]).strip()
    log_progress(out.with_suffix(".log"))
    failed = out.with_name(f"{out.stem}.failed.ipynb")
    how = {"kernel_name": "python3", "cwd": notebook.parent, "progress_bar": False}
    how |= {"shutdown_kernel": "immediate", "extra_arguments": ["--log-level=ERROR"]}
    with paths.replacing(out) as part, TemporaryDirectory(prefix="kernel-") as folder:
        # Through files: another kernel may take a port before this one does.
        sockets = {"transport": "ipc", "connection_file": f"{folder}/kernel.json"}
        how["config"] = Config({"ConnectionFileMixin": sockets})
        # papermill takes paths as format strings.
        books = (str(path).replace("{", "{{").replace("}", "}}") for path in (notebook, part))
        try:
            papermill.execute_notebook(*books, parameters, **how)
        except papermill.PapermillExecutionError as error:
            reason = f"{error.ename}: {error.evalue}"
            if error.ename != "DataError":
                raise DataError(f"a cell failed ({reason})", file=part.rename(failed)) from error
            _say(title, reason)  # bad input is a result, and the page shows it
    failed.unlink(missing_ok=True)


def log_progress(log: Path) -> None:
    """Send progress bars of this process and its children to ``log``."""
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("", encoding="utf-8")
    os.environ["LMMOE_PROGRESS"] = str(log.resolve())


def follow(profiles: Iterable[str]) -> None:
    """Show what the jobs' logs tell, on whatever machine they run, while somebody looks."""
    folders, began = [paths.results(name) for name in profiles], time.time()
    told: dict[Path, int] = {}  # characters of each log

    def show() -> None:
        while True:
            for log in chain.from_iterable(folder.rglob("*.log") for folder in folders):
                if log.stat().st_mtime >= began:
                    text = log.read_text(encoding="utf-8")
                    for line in text[told.get(log, 0) :].splitlines():
                        _say(f"{log.parent.name}/{log.stem}", line)
                    told[log] = len(text)
            time.sleep(1)

    if sys.stderr.isatty():
        threading.Thread(target=show, daemon=True).start()


def _say(title: str, text: str) -> None:
    """Print a line; in one write, so that lines of parallel jobs do not mix."""
    sys.stderr.write(f"  {title}: {text}\n")
