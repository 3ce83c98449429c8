"""What is compared: a large and a small detector, and every way here to make either smaller.

A method makes something that scores raw rows (``decision_function``), of a fitted base.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy.typing as npt

from lmmoe.detectors.base import Floats
from lmmoe.detectors.mixture import Mixture
from lmmoe.report.compression.continued import Student, continued
from lmmoe.report.compression.pruning import pruned
from lmmoe.report.export.graph import write
from lmmoe.report.export.integers import quantise
from lmmoe.report.export.precision import Bfloat16
from lmmoe.report.export.runtime import Runtime

LARGE, SMALL = "HMMoE", "LightMMoE"
TUNING = 1  # epochs that a pruned network is trained on
# The study's "extremely light" variant.
TINY = {"experts": 2, "kernels": 4, "hidden": 64, "out": 32, "tower": 8}
AS_IS, PRUNING, DISTILLING, INTEGERS, HALVES, DESIGN = (
    "as it is",
    "pruning",
    "distillation",
    "int8",
    "other arithmetic",
    "design",
)


class Scorer(Protocol):
    """Whatever scores rows."""

    def decision_function(self, X: npt.ArrayLike) -> Floats:
        """Score raw rows ``(t, c)``: ``(t,)``."""


@dataclass(frozen=True)
class Made:
    """A compressed model: its scorer, how many numbers were learned, bytes of its file."""

    scorer: Scorer
    parameters: int
    bytes: int


@dataclass(frozen=True, eq=False)
class Given:
    """What a method may use: fitted bases by name, the raw rows that they learned from, a folder.

    ``settings`` are what the protocol imposes on every detector.
    """

    bases: dict[str, Mixture]
    rows: Floats
    folder: Path
    settings: dict[str, object]


@dataclass(frozen=True)
class Method:
    """One line of the table: what it is called, of which kind, made of which base."""

    name: str
    kind: str
    base: str
    make: Callable[[Given, str], Made] = field(compare=False)


def as_is(given: Given, base: str) -> Made:
    """The base itself."""
    return _of(given.bases[base])


def _of(made: Mixture) -> Made:
    """A model's file without the training rows' scores, which nothing but its loading needs."""
    arrays = made._state().items()
    size = sum(array.nbytes for name, array in arrays if not name.startswith("history."))
    return Made(made, made.parameters, size)


def cut(
    *, kernels: float = 1.0, hidden: float = 1.0, experts: float = 1.0, epochs: int = TUNING
) -> Callable[[Given, str], Made]:
    """Prune to shares, then train on for some epochs."""
    shares = {"kernels": kernels, "hidden": hidden, "experts": experts}

    def make(given: Given, base: str) -> Made:
        like = given.bases[base]
        settings, state = pruned(like, given.rows, **shares)
        return _of(continued(like, settings, state, given.rows, epochs=epochs))

    return make


def taught(**settings: object) -> Callable[[Given, str], Made]:
    """Distil the base into LightMMoE, with other settings than its own where they are given."""

    def make(given: Given, base: str) -> Made:
        student = Student(**(given.bases[SMALL].settings | settings))
        return _of(student.taught_by(given.bases[base]).fit(given.rows))

    return make


def plain(**settings: object) -> Callable[[Given, str], Made]:
    """Train LightMMoE, with other settings than its own, without a teacher: a student's control."""

    def make(given: Given, base: str) -> Made:
        from lmmoe.detectors import detector

        own = given.bases[SMALL].settings | settings
        return _of(detector(SMALL, **own).fit(given.rows))

    return make


def small(given: Given, base: str) -> Made:
    """LightMMoE in place of the base."""
    return _of(given.bases[SMALL])


def onnx(given: Given, base: str) -> Made:
    """The base by ONNX Runtime, in single precision."""
    return _file(given.bases[base], _exported(given, base))


def dynamic(given: Given, base: str) -> Made:
    """The base in int8, inputs scaled as they come."""
    out = given.folder / f"{base}-dynamic.onnx"
    return _file(given.bases[base], quantise(_exported(given, base), out))


def static(given: Given, base: str) -> Made:
    """The base in int8, the inputs' ranges from training rows."""
    out = given.folder / f"{base}-static.onnx"
    return _file(given.bases[base], quantise(_exported(given, base), out, rows=given.rows))


def bfloat16(given: Given, base: str) -> Made:
    """The base in bfloat16: as many numbers, half the bytes."""
    made = _of(given.bases[base])
    return Made(Bfloat16(given.bases[base]), made.parameters, made.bytes // 2)


def _exported(given: Given, base: str) -> Path:
    file = given.folder / f"{base}.onnx"
    return file if file.is_file() else write(given.bases[base], file)


def _file(made: Mixture, file: Path) -> Made:
    return Made(Runtime(file), made.parameters, file.stat().st_size)


def _of_both(base: str) -> list[Method]:
    return [
        Method(base, AS_IS, base, as_is),
        Method("half of the kernels", PRUNING, base, cut(kernels=0.5)),
        Method("half of the hidden units", PRUNING, base, cut(hidden=0.5)),
        Method("half of the experts", PRUNING, base, cut(experts=0.5)),
        Method(
            "kernels, units 0.7, experts 0.75, not trained on",
            PRUNING,
            base,
            cut(kernels=0.7, hidden=0.7, experts=0.75, epochs=0),
        ),
        Method(
            "kernels, units 0.7, experts 0.75",
            PRUNING,
            base,
            cut(kernels=0.7, hidden=0.7, experts=0.75),
        ),
        Method("ONNX Runtime, float32", HALVES, base, onnx),
        Method("int8, dynamic", INTEGERS, base, dynamic),
        Method("int8, static", INTEGERS, base, static),
    ]


METHODS = (
    *_of_both(LARGE),
    Method("LightMMoE, taught by HMMoE", DISTILLING, LARGE, taught()),
    Method("extremely light, taught by HMMoE", DISTILLING, LARGE, taught(**TINY)),
    Method("LightMMoE in its place", DESIGN, LARGE, small),
    Method("extremely light in its place", DESIGN, LARGE, plain(**TINY)),
    *_of_both(SMALL),
    Method("extremely light, taught by LightMMoE", DISTILLING, SMALL, taught(**TINY)),
    Method("bfloat16", HALVES, SMALL, bfloat16),
)
