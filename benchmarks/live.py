"""What a live row costs: against ONNX Runtime, plain NumPy and scoring in batches.

One thread each. A row's latency is taken call by call: a turn makes a few hundred of them and gives
their median and 99th percentile, of wall time and of the processor time of this thread. On a
machine with other work a p99 of wall time shows how long others had the core; processor time does
not.
"""

import os
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from itertools import count

import numpy as np
import torch
from torch import nn

from benchmarks.measure import Figures, Given, Row, Spread, in_turn, machine, ratio, timed
from benchmarks.scoring import NEEDED, exported
from lmmoe import detector, live
from lmmoe.detectors import Detector

THREADS = ("one",)
FAMILY = ("LightMMoE", "CAD", "HMMoE")
OTHERS = ("MTSExample", "PCA", "PCA windows EWMA", "k-means", "linear", "IsolationForest")
PRODUCTS = ("PCA windows", "PCA windows EWMA", "ThreeViews")  # scored by one product a row
MICRO = 1e6
TAIL, SHARE, STATE = 5.0, 0.6, 16_000  # what is asked for
STREAMS = 10_000
ALONE = "nothing to compare with"
LEARNED = 2000  # rows: what was learned does not matter


class PlainNumPy:
    """LightMMoE's and CAD's forward pass written down step by step, nothing prepared."""

    def __init__(self, network: nn.Module) -> None:
        self.gate = network.gate.weights().detach().numpy()
        self.state = {name: part.numpy() for name, part in network.state_dict().items()}

    def _layer(self, name: str, number: int, x: np.ndarray) -> np.ndarray:
        weights, biases = (self.state[f"{name}.{kind}.{number}"] for kind in ("weights", "biases"))
        return x @ weights + biases

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Map a window ``(c, w)`` to a forecast ``(c,)``."""
        channels, experts = self.gate.shape[:2]
        maps = np.maximum(x @ self.state["experts.conv"] + self.state["experts.conv_bias"], 0)
        maps = maps.reshape(channels, experts, -1).transpose(1, 0, 2).reshape(experts, 1, -1)
        hidden = np.maximum(self._layer("experts.layers", 0, maps), 0)
        hidden = self._layer("experts.layers", 1, hidden)[:, 0]  # (e, o)
        logits = (self.gate @ x[:, :, None])[:, :, 0]  # (c, e)
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        mixed = shares @ hidden / shares.sum(axis=1, keepdims=True)
        inner = np.maximum(self._layer("towers", 0, mixed[:, None]), 0)
        return self._layer("towers", 1, inner)[:, 0, 0]


class Steps:
    """A stream that takes the same rows again and again; a call is a step and its explanation."""

    def __init__(self, model: live.Model, rows: np.ndarray) -> None:
        self.stream, self.rows, self.next = live.Stream(model), rows, count()
        for _ in range(len(self.stream.window)):
            self()

    def __call__(self) -> object:
        """Scale, score, compare, attribute."""
        self.stream.step(self.rows[next(self.next) % len(self.rows)])
        return self.stream.errors()


class Lines(Steps):
    """The same for a watch, which reads each row from a line first."""

    def __init__(self, model: live.Model, rows: np.ndarray) -> None:
        self.watch = live.Watch(model, tell=str, accept_after=0)
        self.lines = [",".join(map(repr, row.tolist())).encode() for row in rows]
        super().__init__(model, rows)

    def __call__(self) -> object:
        """Read a line and take the row."""
        return self.watch.feed(self.lines[next(self.next) % len(self.lines)])


def rows(*, quick: bool) -> Iterator[Row]:
    """Latency of the MMoE family, of other detectors, throughput of many streams, state."""
    given = machine()
    turns, calls = (2, 20) if quick else (31, 300)
    for name in FAMILY:
        yield from _latency(name, given, turns, calls)
    for name in OTHERS:
        yield _other(name, given, turns, max(calls // 10, 5))
    streams, turns = (200, 2) if quick else (STREAMS, 9)
    yield from _many(given, streams, turns)
    for name in PRODUCTS:
        yield _beside_product(name, given, streams, turns)


def fitted(name: str, given: Given, **settings: object) -> live.Model:
    """Fit a detector on a few rows, for an epoch where it has such."""
    train = given.train[:LEARNED]
    quick = {"epochs": 1} if name in (*FAMILY, "linear") else {}
    facts = live.Facts.of(train, rows_per_day=1440.0)
    return live.Model(detector(name, **quick, **settings).fit(train), facts)


def calls_of(work: Callable[[], object], calls: int) -> Callable[[int], Figures]:
    """Make a program of some work: p50 and p99 of its calls in seconds, of wall and processor."""

    def program(turn: int) -> Figures:
        walls, cpus = np.empty(calls), np.empty(calls)
        for number in range(calls):
            cpu, wall = time.thread_time(), time.perf_counter()
            work()
            walls[number] = time.perf_counter() - wall
            cpus[number] = time.thread_time() - cpu
        both = {"wall": walls, "cpu": cpus}
        return {
            f"{kind} p{share}": float(np.percentile(taken, share))
            for kind, taken in both.items()
            for share in (50, 99)
        }

    return program


def _latency(name: str, given: Given, turns: int, calls: int) -> Iterator[Row]:
    """Compare a model's forward pass and step with the faster of two others' forward passes."""
    model = fitted(name, given)
    works = _forwards(model, given)
    works |= {"step": Steps(model, given.test[:500]), "watch": Lines(model, given.test[:500])}
    found = in_turn({which: calls_of(work, calls) for which, work in works.items()}, turns)
    p50 = {which: figures["wall p50"] for which, figures in found.items()}
    best = min(works.keys() - {"step", "watch"}, key=lambda which: np.median(p50[which]))
    yield Row(
        what=f"{name}, one row, whole step, p50",
        unit="µs",
        ours=_micro(p50["step"]),
        yardstick=f"forward pass of {best}",
        theirs=_micro(p50[best]),
        compared=ratio(p50["step"], p50[best]),
        remarks={f"{which}, p50, µs": _micro(values) for which, values in p50.items()},
    )
    step = found["step"]
    for kind in ("wall", "cpu"):
        yield Row(
            what=f"{name}, one row, whole step, p99 of {kind} time",
            unit="µs",
            ours=_micro(step[f"{kind} p99"]),
            yardstick="its p50",
            theirs=_micro(step[f"{kind} p50"]),
            compared=ratio(step[f"{kind} p99"], step[f"{kind} p50"]),
            bound=("at most", TAIL),
        )
    size = float(_state_bytes(model, given))
    yield Row(
        what=f"{name}, state of a watch",
        unit="bytes",
        ours=[size],
        yardstick="what was asked for",
        compared=[size],
        bound=("at most", STATE),
    )


def _forwards(model: live.Model, given: Given) -> dict[str, Callable[[], object]]:
    """Forward passes of one window, checked to give the same."""
    made = model.detector
    scaled = made._scaling(given.test[: made.window]).astype(np.float32)
    batch = np.ascontiguousarray(scaled.T)[None]
    tensor = torch.from_numpy(batch)
    network = torch.inference_mode()(made.network.forward)
    works: dict[str, Callable[[], object]] = {"PyTorch": lambda: network(tensor)}
    if all(map(find_spec, NEEDED)):
        session = exported(made)
        feed = {session.get_inputs()[0].name: batch}
        works["ONNX Runtime"] = lambda: session.run(None, feed)[0]
    if made.name != "HMMoE":
        plain = PlainNumPy(made.network)
        works["plain NumPy"] = lambda: plain(batch[0])
    expected = made.forecasts(given.test[: made.min_rows])[0]
    for which, work in works.items():
        forecast = made._scaling.undone(np.asarray(work(), dtype=np.float64).reshape(-1))
        if not np.allclose(forecast, expected, rtol=1e-3, atol=1e-4):
            raise RuntimeError(f"{which} forecasts something else than {made.name}")
    return works


def _other(name: str, given: Given, turns: int, calls: int) -> Row:
    """Take the step of a detector that is run by its public functions."""
    step = Steps(fitted(name, given), given.test[:500])
    found = in_turn({"step": calls_of(step, calls)}, turns)["step"]
    return Row(
        what=f"{name}, one row, whole step, p50",
        unit="µs",
        ours=_micro(found["wall p50"]),
        yardstick=ALONE,
        remarks={"rows looked at": len(step.stream.window)},
    )


def _beside_product(name: str, given: Given, streams: int, turns: int) -> Row:
    """Compare many streams' rows a second with those of the bare product that scores them."""
    fleet, ticks = _fleet(detector(name), given, streams, turns)
    model = fleet.model
    main = model.detector._learned["directions"]
    back = main[:, -given.test.shape[1] :].T.copy()
    parts = np.random.default_rng(0).normal(size=(-(-streams // 512), main.shape[1], 512))
    programs = {
        "fleet": timed(lambda: fleet.tick(next(ticks))),
        "product": timed(lambda: [back @ (main @ part) for part in parts]),
    }
    found = {which: each["seconds"] for which, each in in_turn(programs, turns).items()}
    columns = {"fleet": streams, "product": 512 * len(parts)}
    each = {which: [value / columns[which] for value in found[which]] for which in found}
    return Row(
        what=f"{name}, {streams} streams in one step, a row",
        unit="µs",
        ours=_micro(each["fleet"]),
        yardstick="its products in plain NumPy",
        theirs=_micro(each["product"]),
        compared=ratio(each["fleet"], each["product"]),
        remarks={"threads": os.environ["OMP_NUM_THREADS"]},
    )


def _fleet(
    made: Detector, given: Given, streams: int, turns: int
) -> tuple[live.Fleet, Iterator[np.ndarray]]:
    """Fit, and let streams take stretches of the training rows, so that few are in an alarm."""
    facts, starts = live.Facts.of(given.train, rows_per_day=1440.0), 7 * np.arange(streams)
    fleet = live.Fleet(live.Model(made.fit(given.train), facts), streams)
    ticks = iter([given.train[(starts + row) % len(given.train)] for row in range(21 + turns)])
    for _ in range(20):
        fleet.tick(next(ticks))
    return fleet, ticks


def _many(given: Given, streams: int, turns: int) -> Iterator[Row]:
    """Compare many streams' rows a second with those of scoring in batches."""
    fleet, ticks = _fleet(detector("LightMMoE", epochs=1), given, streams, turns)
    series = np.resize(given.test, (streams, given.test.shape[1]))
    programs = {
        "fleet": timed(lambda: fleet.tick(next(ticks))),
        "batch": timed(lambda: fleet.model.detector.decision_function(series)),
    }
    found = {name: each["seconds"] for name, each in in_turn(programs, turns).items()}
    rates = {name: [streams / value for value in taken] for name, taken in found.items()}
    arrays = fleet.window.nbytes + fleet.held.nbytes + fleet.carry.nbytes
    yield Row(
        what=f"LightMMoE, {streams} streams in one step",
        unit="rows/s",
        ours=rates["fleet"],
        yardstick="scoring as many rows in batches",
        theirs=rates["batch"],
        compared=ratio(rates["fleet"], rates["batch"]),
        bound=("at least", SHARE),
        remarks={"bytes of a stream": arrays / streams, "threads": os.environ["OMP_NUM_THREADS"]},
    )


def _state_bytes(model: live.Model, given: Given) -> int:
    """Size of all that a watch knows of a machine."""
    watch = live.Watch(model, tell=str)
    for row in given.test[:200]:
        watch.feed(",".join(map(repr, row.tolist())).encode())
    return len(watch.only.dump())


def _micro(values: list[float]) -> Spread:
    return Spread.of([MICRO * value for value in values])
