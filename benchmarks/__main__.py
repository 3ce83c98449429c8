"""Run the programs: ``python -m benchmarks [NAME ...] [--quick] [--out FOLDER]``."""

import argparse
import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import measure
from lmmoe import paths

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = (
    *("imports", "memory", "metrics", "scoring"),
    *("limit", "training", "entities", "live"),
)
# What libraries of linear algebra read when they are loaded, so that it must be set before.
COUNTS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def main(argv: list[str] | None = None) -> int:
    """Run programs one after the other; 1 where one failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *PROGRAMS], metavar="NAME", help="which")
    parser.add_argument("--quick", action="store_true", help="seconds each, figures worth nothing")
    parser.add_argument("--out", type=Path, help="folder of the JSON files")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.child:
        return _child(options.names[0], options.child, quick=options.quick)
    out = options.out or paths.home() / "results" / "bench"
    done = [program(name, out, quick=options.quick) for name in options.names or PROGRAMS]
    return 0 if all(done) else 1


def program(name: str, out: Path, *, quick: bool) -> bool:
    """Run one program with each of its thread counts (quick: one), print and write its table.

    False where it failed: its error then stands on standard error, and no file is written.
    """
    rows, head, load = [], {}, {}
    counts = {"one": 1, "all": 1 if quick else measure.cores()}
    for threads in sorted({counts[each] for each in import_module(f"benchmarks.{name}").THREADS}):
        with TemporaryDirectory(prefix="bench-") as folder:
            file = Path(folder) / "rows.json"
            words = [sys.executable, "-m", "benchmarks", name, "--child", str(file)]
            environment = os.environ | dict.fromkeys(COUNTS, str(threads))
            done = subprocess.run(
                [*words, *(["--quick"] if quick else [])],
                cwd=ROOT,
                env=environment | {"LMMOE_PROGRESS": "off"},
            )
            if done.returncode:
                print(f"{name} failed on {threads} threads", file=sys.stderr)
                return False
            found = json.loads(file.read_text(encoding="utf-8"))
        load[str(threads)] = found["environment"].pop("load")
        head = head or found["environment"]
        rows += found["rows"]
    head = {"program": name, "quick": quick, "environment": head | {"load": load}}
    measure.write(out / f"{name}.json", head, rows)
    print(f"\n{name}{' (quick: the figures mean nothing)' if quick else ''}")
    print(measure.table(rows), flush=True)
    return True


def _child(name: str, file: Path, *, quick: bool) -> int:
    """Measure in this process, whose thread count its environment sets."""
    threads = int(os.environ[COUNTS[0]])
    environment = measure.environment()  # before the work, so that the load is that of others
    rows = import_module(f"benchmarks.{name}").rows(quick=quick)
    found = [measure.as_json(row, threads, quick=quick) for row in rows]
    file.write_text(json.dumps({"environment": environment, "rows": found}), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
