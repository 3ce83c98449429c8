"""Scoring a whole series with LightMMoE: against its arithmetic, and against ONNX Runtime.

The bound is that of `benchmarks.limit`. ONNX Runtime gets the same network (exported by
torch.onnx.export, dynamo=True) with as many threads; NumPy does the rest of its work: scaling,
windows in batches, squared errors. Its best batch is the yardstick; that both give the same scores
is checked first.
"""

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import redirect_stdout
from importlib.util import find_spec
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import limit
from benchmarks.measure import Given, Row, Spread, in_turn, machine, ratio, timed
from lmmoe.detectors import detector
from lmmoe.detectors.scaling import Scaling

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

    from lmmoe.detectors.mixture import Mixture

THREADS = ("one", "all")
BATCHES = (64, 256, 1024, 4096)
NEEDED = ("onnx", "onnxruntime", "onnxscript")
MOST = 2.5  # times the bound
LEARNED = 2000  # rows: what was learned does not matter
MICRO = 1e6


def rows(*, quick: bool) -> Iterator[Row]:
    """Against the bound, and against ONNX Runtime where it is installed."""
    given = machine()
    made = detector("LightMMoE", epochs=1, held_out=0.0).fit(given.train[:LEARNED])
    test = given.test[:3000] if quick else given.test
    least = 0.01 if quick else 0.3
    channels = test.shape[1]
    programs = {
        "ours": timed(lambda: made.decision_function(test)),
        "square": lambda turn: {"rate": limit.square_rate(least)},
        "own": lambda turn: {
            "seconds": limit.own_seconds(made, channels, 1024, least, train=False)
        },
    }
    runtime, far = _runtime(made, given, test)
    programs |= {name: timed(work) for name, work in runtime.items()}
    found = in_turn(programs, 1 if quick else 9, warm=not quick)
    taken = [MICRO * value / len(test) for value in found["ours"]["seconds"]]
    yield _against_bound(made, channels, found, taken)
    yield _against_runtime({name: found[name]["seconds"] for name in runtime}, far, taken, test)


def _against_bound(made: "Mixture", channels: int, found: dict, taken: list[float]) -> Row:
    work = limit.flop(made, channels)
    bound = [MICRO * work / rate for rate in found["square"]["rate"]]
    own = [MICRO * value for value in found["own"]["seconds"]]
    return Row(
        what="LightMMoE, scoring a row of a series",
        unit="µs",
        ours=taken,
        yardstick=f"its {work / 1e6:.2f} MFLOP at the rate of a large product",
        theirs=bound,
        compared=ratio(taken, bound),
        bound=("at most", MOST),
        remarks={
            "products in their own shapes, batch 1024, µs": Spread.of(own),
            "ours over those": ratio(taken, own),
        },
    )


def _against_runtime(
    found: dict[str, list[float]], far: float, taken: list[float], test: np.ndarray
) -> Row:
    what = "LightMMoE, scoring a row of a series"
    if not found:
        missing = f"not installed: {', '.join(NEEDED)} (pip install -e .[export])"
        return Row(what, "µs", Spread.of(taken), "ONNX Runtime", remarks={"left out": missing})
    theirs = {
        name: [MICRO * value / len(test) for value in values] for name, values in found.items()
    }
    best = min(theirs, key=lambda name: np.median(theirs[name]))
    return Row(
        what=what,
        unit="µs",
        ours=taken,
        yardstick=best,
        theirs=theirs[best],
        compared=ratio(theirs[best], taken),
        bound=("at least", 1.0),
        remarks={
            "largest difference of a score, relative": far,
            "by batch, µs": {name: Spread.of(values) for name, values in theirs.items()},
        },
    )


def _runtime(made: "Mixture", given: Given, test: np.ndarray) -> tuple[dict, float]:
    """Scoring by ONNX Runtime in each batch, and how far its scores are from ours at most."""
    if not all(map(find_spec, NEEDED)):
        return {}, float("nan")
    session, scaling = exported(made), Scaling.of("z-score", given.train[:LEARNED])
    works = {
        f"ONNX Runtime, batch {batch}": lambda batch=batch: scored(session, scaling, test, batch)
        for batch in BATCHES
    }
    ours = made.decision_function(test)[made.unscored :]
    far = max(float(np.max(np.abs(work() - ours) / ours)) for work in works.values())
    if far > 1e-3:
        raise RuntimeError(f"ONNX Runtime's scores are another's: {far:.2g} apart, relatively")
    return works, far


def exported(made: "Mixture") -> "InferenceSession":
    """Give ONNX Runtime the network: windows ``(b, c, w)`` to forecasts ``(b, c)``."""
    import onnxruntime
    import torch

    sample = torch.zeros(2, made.n_features_in_, made.window)
    file = BytesIO()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns of what it does not need
    with redirect_stdout(sys.stderr), warnings.catch_warnings(action="ignore"):
        shapes = ({0: torch.export.Dim("batch")},)
        program = torch.onnx.export(
            made.network.eval(), (sample,), dynamo=True, dynamic_shapes=shapes, verbose=False
        )
    program.save(file)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ["OMP_NUM_THREADS"])
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(
        file.getvalue(), options, providers=["CPUExecutionProvider"]
    )


def scored(
    session: "InferenceSession", scaling: Scaling, rows: np.ndarray, batch: int
) -> np.ndarray:
    """Score rows ``(t, c)`` from the first that has a whole window before it: ``(t - w,)``."""
    (given,) = session.get_inputs()
    window = given.shape[2]
    scaled = scaling(rows).astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(scaled[:-1], window, axis=0)
    scores = np.empty(len(windows))
    for start in range(0, len(windows), batch):
        part = np.ascontiguousarray(windows[start : start + batch])
        (forecast,) = session.run(None, {given.name: part})
        end = start + len(part)
        errors = forecast - scaled[window + start : window + end]
        scores[start:end] = np.square(errors).mean(axis=1)
    return scores
