"""What each method of `lmmoe.report.compression.methods` keeps and gains, on one entity.

Speed is a ratio: in a turn every scorer of a base scores the same rows once, in processor time on
one thread, and the median of the turns' ratios to the base is told. Other work then hits all alike.
"""

import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from lmmoe.data import Series
from lmmoe.data.series import Floats
from lmmoe.detectors.mixture import Mixture
from lmmoe.report.compression.methods import METHODS, Given, Made, Method, Scorer
from lmmoe.report.evaluation import evaluate
from lmmoe.report.protocol import Protocol

VERSION = 1  # raise it when what this module measures changes
QUALITY = (
    *("average_precision", "best_f1"),
    *("point_f1_pa", "event_f1_pa_log", "event_f1_pa_squeeze"),
)
CONTROLS = ("MTSExample", "random")
TURNS, ROWS = 5, 2000  # of the timing
MICRO = 1e6
COLUMNS = (
    *("dataset", "entity", "protocol", "base", "kind", "method", "parameters", "bytes"),
    *QUALITY,
    *("score_us", "speed", "device", "error"),
)


def lines(
    series: Series,
    protocol: Protocol,
    bases: dict[str, Mixture],
    *,
    vus_window: int,
    seed: int = 0,
    methods: tuple[Method, ...] = METHODS,
) -> list[dict[str, object]]:
    """Measure methods on one entity: a line each, then the controls', with `COLUMNS`' names.

    ``bases`` are fitted on what the protocol trains on. A method that fails has ``error`` in place
    of numbers.
    """
    rows = protocol.train(series)
    with TemporaryDirectory(prefix="lmmoe-") as folder:
        given = Given(bases, rows, Path(folder), protocol.settings)
        found = [_tried(method, given) for method in methods]
        good = {method: made for method, made in found if isinstance(made, Made)}
        speeds = _speeds(good, series.test[:ROWS])
        out = [
            _line(method, made, speeds.get(method), series, protocol, vus_window)
            for method, made in found
        ]
    return out + [_control(name, series, protocol, vus_window, seed) for name in CONTROLS]


def _tried(method: Method, given: Given) -> tuple[Method, Made | str]:
    try:
        return method, method.make(given, method.base)
    except (ValueError, RuntimeError, MemoryError) as error:
        # One method that fails must not cost the others.
        return method, f"{type(error).__name__}: {error}"


def _line(
    method: Method,
    made: Made | str,
    speed: tuple[float, float] | None,
    series: Series,
    protocol: Protocol,
    vus_window: int,
) -> dict[str, object]:
    head = {"base": method.base, "kind": method.kind, "method": method.name}
    if isinstance(made, str):
        return head | {"error": made}
    head |= {"parameters": made.parameters, "bytes": made.bytes}
    head |= {"score_us": speed[0], "speed": speed[1]} if speed else {}
    return head | quality(made.scorer, series, protocol, vus_window)


def _control(
    name: str, series: Series, protocol: Protocol, vus_window: int, seed: int
) -> dict[str, object]:
    made = protocol.detector(name, seed=seed).fit(protocol.train(series))
    head = {"base": "", "kind": "control", "method": name, "parameters": made.parameters}
    return head | quality(made, series, protocol, vus_window)


def quality(made: Scorer, series: Series, protocol: Protocol, vus_window: int) -> dict[str, float]:
    """Judge a scorer on the test half, as the protocol labels it: the metrics of `QUALITY`."""
    scores = made.decision_function(series.test)
    values = evaluate(protocol.labels(series), scores, vus_window=vus_window)
    return {name: float(values[name]) for name in QUALITY}


def _speeds(good: dict[Method, Made], rows: Floats) -> dict[Method, tuple[float, float]]:
    """Microseconds a row, and times the speed of the base, of each method's scorer."""
    found = {}
    for base in dict.fromkeys(method.base for method in good):
        own = {method.name: made.scorer for method, made in good.items() if method.base == base}
        taken = in_turns(own, rows)
        for method in good:
            if method.base == base and base in taken:
                each = taken[method.name]
                ratio = float(np.median(taken[base] / each))
                found[method] = (float(np.median(each)) * MICRO / len(rows), ratio)
    return found


def in_turns(scorers: dict[str, Scorer], rows: Floats) -> dict[str, Floats]:
    """Processor seconds that each scorer takes for rows ``(t, c)``, turn by turn: ``(turns,)``."""
    taken: dict[str, list[float]] = {name: [] for name in scorers}
    for turn in range(TURNS + 1):  # the first loads what is loaded late
        for name, scorer in scorers.items():
            began = time.process_time()
            scorer.decision_function(rows)
            if turn:
                taken[name].append(time.process_time() - began)
    return {name: np.array(values) for name, values in taken.items()}
