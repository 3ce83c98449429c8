"""Running one notebook in batch: papermill, with progress, and nothing left behind when killed."""

import os
import sys
import threading
import time
from pathlib import Path

import psutil

from lmmoe import paths
from lmmoe.report.params import Profile, overrides

LOOK_AGAIN = 0.5  # seconds


def run(
    notebook: Path, out: Path, *, profile: Profile, extra: dict[str, object], file: str = ""
) -> None:
    """Execute ``notebook`` with a profile's parameters (and ``extra``), and write it to ``out``.

    Raises papermill's error where a cell fails; the notebook then lies beside ``out`` as
    ``*.failed.ipynb``. Only a `DataError` leaves a notebook as far as it came: one bad entity must
    not cost the report of the others.
    """
    without_grammars()
    import papermill

    # Notebook 03 takes the profile's ``file``; the others take each of its keys.
    known = papermill.inspect_notebook(notebook).get("profile", {}).get("default", "")
    given = {"profile": file} if ".yaml" in known else overrides(profile)
    title = " ".join([notebook.stem, str(extra.get("entity", ""))]).strip()
    log_progress(out.with_suffix(".log"), title)
    failed = out.with_name(f"{out.stem}.failed.ipynb")
    with paths.replacing(out) as part:
        try:
            papermill.execute_notebook(
                notebook,
                part,
                parameters=given | extra,
                cwd=notebook.parent,
                kernel_name="python3",
                progress_bar=False,
                extra_arguments=["--log-level=ERROR"],  # the kernel's own, not the cells'
                shutdown_kernel="immediate",
            )
        except papermill.PapermillExecutionError as error:
            _say(title, f"{error.ename}: {error.evalue}")
            if error.ename != "DataError":  # bad input is a result, and the page shows it
                part.rename(failed)
                _say(title, f"failed; the notebook with the error is {failed}")
                raise
    failed.unlink(missing_ok=True)


def without_grammars() -> None:
    """Keep nbformat, not imported yet, from compiling the grammars of addresses for two seconds.

    It brings jsonschema, which does without this package where it is missing.
    """
    sys.modules.setdefault("rfc3987_syntax", None)


def log_progress(log: Path, title: str) -> None:
    """Send the progress bars of this process and its children to ``log`` and to standard error."""
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("", encoding="utf-8")
    os.environ["LMMOE_PROGRESS"] = str(log.resolve())
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


def die_with_parent() -> None:
    """End this process and its children as soon as the parent is gone, even killed with -9.

    A watching thread rather than Linux's prctl, so that macOS behaves alike.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK_AGAIN)
        for child in psutil.Process().children(recursive=True):
            child.kill()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def refresh(notebook: Path) -> None:
    """Execute a notebook in place at its defaults, without what changes from run to run.

    Times, paths and versions would make every run a difference; outputs and counts stay, since
    nbval compares nothing in a notebook without them.
    """
    without_grammars()
    import nbformat
    import papermill

    os.environ["LMMOE_PROGRESS"] = "off"
    with paths.replacing(notebook) as part:
        papermill.execute_notebook(notebook, part, cwd=notebook.parent, progress_bar=False)
        book = nbformat.read(part, as_version=4)
        names = {"kernelspec": {"display_name": "Python 3", "language": "python"}}
        names["kernelspec"]["name"] = "python3"
        book.metadata = nbformat.from_dict(names | {"language_info": {"name": "python"}})
        for cell in book.cells:
            tags = cell.metadata.get("tags")
            cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        nbformat.write(book, part)
