"""Detectors of other packages that keep PyOD's contract, by their import path."""

import hashlib
import inspect
from collections.abc import Callable
from functools import cache
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import numpy as np

from lmmoe.detectors.base import Floats
from lmmoe.detectors.scaling import Scaling
from lmmoe.detectors.windowed import Learning

OURS = ("contamination", "random_state")  # given by our own settings where the class takes them
# What foreign code raises on data or settings that it cannot take.
FOREIGN = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError)


class Imported(Learning):
    """A detector of another package: ``detector("pyod.models.ecod.ECOD")``.

    It is fitted on the z-scored rows that `Learning` learns from, and scores z-scored rows. The
    class must keep PyOD's contract (Zhao, Nasrullah and Li, JMLR 2019): ``fit``, and a
    ``decision_function`` that is higher for more anomalous rows; ``decision_scores_`` after ``fit``
    tells it from scikit-learn's classes, whose function has the opposite sign. Its constructor's
    arguments are settings here; ``contamination`` and, as its ``random_state``, ``seed`` are passed
    on where it takes them. A class that draws otherwise is not fixed by ``seed``. The model is an
    object of that package, which a file of numbers cannot hold.

    Raises `ValueError` for a setting that the class refuses; `RuntimeError` where it fails on the
    rows, or where its scores are not one finite number per row.
    """

    savable = False
    foreign: type
    version = ""  # name and version of the package that it comes from

    def __init__(
        self,
        *,
        held_out: float = 0.1,
        seed: int = 0,
        contamination: float = 0.1,
        **given: Any,  # noqa: ANN401 another package's settings
    ) -> None:
        super().__init__(held_out=held_out, seed=seed, contamination=contamination)
        self._given = given
        self._make()  # a bad setting is told at once

    @property
    def settings(self) -> dict[str, object]:
        """Our settings, and those given to the foreign class."""
        ours = {"held_out": self.held_out, "seed": self.seed, "contamination": self.contamination}
        return ours | self._given

    def _make(self) -> Any:  # noqa: ANN401
        ours = {"contamination": self.contamination, "random_state": self.seed}
        taken = inspect.signature(self.foreign).parameters
        given = self._given | {name: value for name, value in ours.items() if name in taken}
        try:
            return self.foreign(**given)
        except FOREIGN as error:
            raise ValueError(f"{self.name} refuses its settings ({error})") from error

    def _fit(self, rows: Floats) -> None:
        scaling, model = Scaling.z_score(rows), self._make()
        try:
            model.fit(scaling(rows)[: self._cut(len(rows))])
        except FOREIGN as error:
            raise RuntimeError(f"{self.name} cannot be fitted on these rows ({error})") from error
        if not hasattr(model, "decision_scores_"):
            raise RuntimeError(
                f"{self.name} has no decision_scores_ after fit, so it does not keep PyOD's "
                "contract, and its scores may have the opposite sign"
            )
        self._scaling, self._model = scaling, model

    def _score(self, rows: Floats) -> Floats:
        try:
            found = self._model.decision_function(self._scaling(rows))
            scores = np.asarray(found, dtype=np.float64)
        except FOREIGN as error:
            raise RuntimeError(f"{self.name} cannot score these rows ({error})") from error
        if scores.shape != (len(rows),):
            raise RuntimeError(
                f"{self.name} gave scores of shape {scores.shape} for {len(rows)} rows"
            )
        bad = np.flatnonzero(~np.isfinite(scores))
        if len(bad):
            raise RuntimeError(
                f"{self.name} gave {scores[bad[0]]} as the score of row {bad[0]} "
                f"({len(bad)} of {len(rows)} scores are not finite)"
            )
        return scores


@cache
def imported(path: str) -> type[Imported]:
    """Make a detector class of the class at an import path, such as "pyod.models.ecod.ECOD".

    Raises `ValueError` where there is no such module or class, or it cannot fit and score. The
    module is executed: name only code that you trust.
    """
    foreign = _found(path)
    taken = inspect.signature(foreign).parameters
    members = {
        "__doc__": foreign.__doc__,
        "__module__": __name__,  # by itself ABCMeta would name its own
        "__init__": _constructor(foreign),
        "foreign": foreign,
        "name": path,
        "seeded": "random_state" in taken,
        "version": version(path),
    }
    return type(foreign.__name__, (Imported,), members)


def version(path: str) -> str:
    """Name and version of the package behind an import path: "pyod 3.6.7".

    Code that no installed package holds has the digest of its module's file for a version.
    """
    module = path.rpartition(".")[0]
    names = metadata.packages_distributions().get(module.partition(".")[0], [])
    if names:
        return ", ".join(f"{name} {metadata.version(name)}" for name in sorted(set(names)))
    file = getattr(import_module(module), "__file__", None)
    text = Path(file).read_bytes() if file else b""
    return f"{module} {hashlib.sha256(text).hexdigest()[:10]}"


def _found(path: str) -> type:
    module, _, name = path.rpartition(".")
    try:
        found = getattr(import_module(module), name, None)
    except (ImportError, TypeError, ValueError) as error:  # the last two: "..x", ".x"
        raise ValueError(
            f"no detector {path!r}: module {module!r} cannot be imported ({error}). "
            "Is its package installed in this environment?"
        ) from error
    if not inspect.isclass(found):
        raise ValueError(f"no detector {path!r}: module {module!r} has no class {name!r}")
    for method in ("fit", "decision_function"):
        if not callable(getattr(found, method, None)):
            raise ValueError(f"{path} is no detector: it has no method {method!r}")
    return found


def _constructor(foreign: type) -> Callable[..., None]:
    """Make an ``__init__`` whose signature names the foreign settings, with no type to check."""
    one, many = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD
    own = inspect.signature(Imported.__init__).parameters.values()
    ours = [each for each in own if each.kind is not many]
    theirs = [
        each.replace(kind=one, annotation=Any)
        for each in inspect.signature(foreign).parameters.values()
        if each.kind in (one, each.POSITIONAL_OR_KEYWORD)
        and each.name not in (*OURS, *(mine.name for mine in ours))
    ]

    def __init__(self: Imported, **settings: Any) -> None:  # noqa: ANN401, N807
        Imported.__init__(self, **settings)

    __init__.__signature__ = inspect.Signature([*ours, *theirs])
    __init__.__annotations__ = {each.name: Any for each in theirs}
    return __init__
