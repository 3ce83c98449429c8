"""Work in a process of its own: one thread, a memory that holds nothing else, dead when we are."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from lmmoe import paths
from lmmoe.detectors.base import Floats

# What libraries of linear algebra read when they are loaded, so that it must be set before.
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)
EXPECTED = (ValueError, RuntimeError, MemoryError)  # of a detector, as in `lmmoe.report.runs.row`


class ChildError(RuntimeError):
    """The work failed, or its process ended before it was done."""


def run(task: Callable[..., dict], spec: dict[str, object], **arrays: Floats) -> dict:
    """Call ``task(spec, **arrays)``, a function of a module, in a new process with one thread.

    ``spec`` and the answer are what JSON can hold. Raises `ChildError` with the reason.
    """
    with TemporaryDirectory(prefix="lmmoe-") as name:
        folder = Path(name)
        for key, array in arrays.items():
            np.save(folder / f"{key}.npy", array)
        given = {"task": f"{task.__module__}:{task.__qualname__}", "spec": spec}
        (folder / "given.json").write_text(json.dumps(given | {"arrays": list(arrays)}))
        done = subprocess.run(
            [sys.executable, "-m", "lmmoe.report.efficiency.child", name],
            cwd=paths.home(),
            env=os.environ | ONE_THREAD | {"LMMOE_PROGRESS": "off"},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise ChildError(_reason(task.__qualname__, done))
        answer = json.loads((folder / "answer.json").read_text())
    if "failed" in answer:
        raise ChildError(answer["failed"])
    return answer


def _reason(title: str, done: subprocess.CompletedProcess) -> str:
    if done.returncode < 0:
        hint = " (is there enough memory?)" if done.returncode == -9 else ""
        return f"{title}: its process was ended by signal {-done.returncode}{hint}"
    last = (done.stderr.strip() or "nothing said why").splitlines()[-1]
    return f"{title}: its process ended with {done.returncode}: {last}"


def main(folder: Path) -> None:
    """Do what lies in ``folder`` and leave the answer there."""
    from lmmoe.data.reading import read_npy
    from lmmoe.report import execute

    execute.die_with_parent()
    given = json.loads((folder / "given.json").read_text())
    module, _, name = given["task"].partition(":")
    task = getattr(import_module(module), name)
    arrays = {key: read_npy(folder / f"{key}.npy") for key in given["arrays"]}
    try:
        answer = task(given["spec"], **arrays)
    except EXPECTED as error:
        answer = {"failed": f"{type(error).__name__}: {error}"}
    (folder / "answer.json").write_text(json.dumps(answer))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
