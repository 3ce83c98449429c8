"""Running the workflow and its notebooks: progress, and nothing left behind when killed."""

import fcntl
import hashlib
import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from lmmoe import paths
from lmmoe.errors import DataError
from lmmoe.report import ablation, experiment, store
from lmmoe.report.profile import load

LOOK_AGAIN = 0.5  # seconds


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
    words += ["--quiet", "host", "reason", "--keep-going"]
    words += ["--config", f"params={params_file.resolve()}"]
    if fresh:
        os.environ["LMMOE_FRESH"] = "1"
    if not dry_run:
        profile = load(params_file)
        for each in (profile, *ablation.whole(profile)):
            _forget(each.profile, everything=fresh)
    if os.environ.get("LMMOE_DATA"):  # jobs start in other folders
        os.environ["LMMOE_DATA"] = str(Path(os.environ["LMMOE_DATA"]).expanduser().resolve())
    os.chdir(home)
    os.execv(sys.executable, [sys.executable, *words, *(["--dry-run"] if dry_run else [])])


def _forget(profile: str, *, everything: bool) -> None:
    """Delete job tables that hold a run to try again; the cache keeps all scores.

    Bad data fails the same way until it changes; a lack of memory may have passed.
    """
    if everything:
        shutil.rmtree(paths.results(profile) / "runs", ignore_errors=True)
    for path in experiment.job_tables(profile):
        errors = store.read(path, experiment.ALL)["error"].dropna()
        if not errors.str.startswith(DataError.__name__).all():
            path.unlink()


def code_of_module() -> str:
    """Hash the files of lmmoe that a result may depend on."""
    kinds = (".py", ".csv", ".mplstyle", ".j2", ".css", ".js")
    home = paths.home()
    found = sorted(path for path in (home / "lmmoe").rglob("*") if path.suffix in kinds)
    parts = [str(path.relative_to(home)).encode() + path.read_bytes() for path in found]
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


def code_of(notebook: str | Path) -> str:
    """Hash a notebook's cells without their outputs: running it in place changes nothing."""
    cells = json.loads(Path(notebook).read_bytes())["cells"]  # nbformat takes 2 s to import
    text = "\n".join(f"{cell['cell_type']}\n{''.join(cell['source'])}" for cell in cells)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def run(notebook: Path, out: Path, *, parameters: dict[str, object]) -> None:
    """Execute ``notebook`` with ``parameters``, and write it to ``out``.

    Raises papermill's error where a cell fails; the notebook then lies beside ``out`` as
    ``*.failed.ipynb``. Only a `DataError` leaves a notebook as far as it came: one bad entity must
    not cost the report of the others.
    """
    papermill = _papermill()
    title = " ".join([notebook.stem, str(parameters.get("entity", ""))]).strip()
    log_progress(out.with_suffix(".log"), title)
    failed = out.with_name(f"{out.stem}.failed.ipynb")
    with paths.replacing(out) as part, _sockets() as sockets:
        try:
            papermill.execute_notebook(
                notebook,
                part,
                parameters=parameters,
                cwd=notebook.parent,
                kernel_name="python3",
                progress_bar=False,
                extra_arguments=["--log-level=ERROR"],  # the kernel's own, not the cells'
                shutdown_kernel="immediate",
                config=sockets,
            )
        except papermill.PapermillExecutionError as error:
            _say(title, f"{error.ename}: {error.evalue}")
            if error.ename != "DataError":  # bad input is a result, and the page shows it
                part.rename(failed)
                _say(title, f"failed; the notebook with the error is {failed}")
                raise
    failed.unlink(missing_ok=True)


def refresh(notebook: Path) -> None:
    """Execute a notebook in place at its defaults, without what changes from run to run.

    Times, paths and versions would make every run a difference; outputs and counts stay, since
    nbval compares nothing in a notebook without them.
    """
    papermill = _papermill()
    import nbformat

    os.environ["LMMOE_PROGRESS"] = "off"
    with paths.replacing(notebook) as part, _sockets() as sockets:
        papermill.execute_notebook(
            notebook, part, cwd=notebook.parent, progress_bar=False, config=sockets
        )
        book = nbformat.read(part, as_version=4)
        names = {"kernelspec": {"display_name": "Python 3", "language": "python"}}
        names["kernelspec"]["name"] = "python3"
        book.metadata = nbformat.from_dict(names | {"language_info": {"name": "python"}})
        for cell in book.cells:
            tags = cell.metadata.get("tags")
            cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        nbformat.write(book, part)


def _papermill() -> object:
    """Import papermill, but not the grammars of addresses, which compile for two seconds.

    nbformat brings jsonschema, which does without this package where it is missing.
    """
    sys.modules.setdefault("rfc3987_syntax", None)
    import papermill

    return papermill


@contextmanager
def _sockets() -> Iterator[object]:
    """Give a kernel's settings to talk through files: another kernel may take a port before it."""
    from traitlets.config import Config

    with TemporaryDirectory(prefix="kernel-") as folder:
        own = {"transport": "ipc", "connection_file": f"{folder}/kernel.json"}
        yield Config({"ConnectionFileMixin": own})


def log_progress(log: Path, title: str) -> None:
    """Send the progress bars of this process and its children to ``log``.

    On a terminal they are shown as lines, too.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("", encoding="utf-8")
    os.environ["LMMOE_PROGRESS"] = str(log.resolve())
    if sys.stderr.isatty():
        threading.Thread(target=_follow, args=(log, title), daemon=True).start()


def _follow(log: Path, title: str) -> None:
    """Copy what is appended to ``log`` to standard error."""
    with log.open(encoding="utf-8") as file:
        while True:
            if line := file.readline().strip():
                _say(title, line)
            else:
                time.sleep(LOOK_AGAIN)


def _say(title: str, text: str) -> None:
    """Print a line; in one write, so that lines of parallel jobs do not mix."""
    sys.stderr.write(f"  {title}: {text}\n")
    sys.stderr.flush()
