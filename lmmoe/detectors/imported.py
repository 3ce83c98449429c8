"""Detectors of other packages that keep PyOD's contract, by their import path."""

import hashlib
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from lmmoe.detectors.base import Arrays, Detector, Share
from lmmoe.detectors.scaling import Floats
from lmmoe.metrics.f1 import numbers


class Imported(Detector):
    """A detector of another package: ``detector("pyod.models.ecod.ECOD")``.

    It is fitted on z-scored rows and scores them. The class must keep PyOD's contract (Zhao,
    Nasrullah and Li, JMLR 2019): ``fit``, which leaves ``decision_scores_`` (scikit-learn's classes
    have none, and the opposite sign), and ``decision_function``. Its constructor's arguments are
    settings here; ``contamination`` and, as its ``random_state``, ``seed`` are passed on where it
    takes them. Raises `ValueError` for bad settings, `RuntimeError` where it fails on the rows.
    """

    savable = False
    parameters = 0  # unknown
    foreign = object  # the class

    held_out: Share = 0.1

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 another package's settings
        ours = self.setting_kinds()
        self._given = {name: settings.pop(name) for name in list(settings) if name not in ours}
        super().__init__(**settings)
        with _told(ValueError, f"{self.name} refuses its settings"):
            self._make()

    @property
    def settings(self) -> dict[str, object]:
        """Our settings, and those given to the foreign class."""
        return super().settings | self._given

    def _make(self) -> Any:  # noqa: ANN401
        ours = {"contamination": self.contamination, "random_state": self.seed}
        taken = inspect.signature(self.foreign).parameters
        return self.foreign(**self._given, **{k: ours[k] for k in ours if k in taken})

    def _learn(self, scaled: Floats) -> Arrays:
        self._model = self._make()
        with _told(RuntimeError, f"{self.name} fails in fit"):
            self._model.fit(scaled)
        if not hasattr(self._model, "decision_scores_"):
            raise RuntimeError(f"{self.name} has no decision_scores_ after fit, as PyOD has")
        return {}

    def _score_rows(self, rows: Floats) -> Floats:
        with _told(RuntimeError, f"{self.name} fails in decision_function"):
            return numbers(self._model.decision_function(self._scaling(rows)), "score")


@contextmanager
def _told(error: type[Exception], problem: str) -> Iterator[None]:
    """Name what foreign code was asked for when it failed."""
    try:
        yield
    except Exception as cause:
        raise error(f"{problem} ({cause})") from cause


@cache
def imported(path: str) -> type[Detector]:
    """Make a detector class of the class at an import path, such as "pyod.models.ecod.ECOD".

    A subclass of `Detector` is taken as it is. Raises `ValueError` where there is no such module or
    class, or it cannot fit and score. The module is executed: name only code that you trust.
    """
    module, _, name = path.rpartition(".")
    with _told(ValueError, f"no detector {path!r}"):
        found = getattr(import_module(module), name)
    if not inspect.isclass(found) or not {"fit", "decision_function"} <= set(dir(found)):
        raise ValueError(f"{path} is no class with fit and decision_function")
    if issubclass(found, Detector):
        return found
    seeded = "random_state" in inspect.signature(found).parameters
    members = {"foreign": found, "name": path, "seeded": seeded, "version": version(path)}
    return type(found.__name__, (Imported,), members | {"__module__": __name__})


def version(path: str) -> str:
    """Package and version behind an import path: "pyod 3.6.7"; of loose code, its file's digest."""
    module = path.rpartition(".")[0]
    names = metadata.packages_distributions().get(module.partition(".")[0], [])
    if names:
        return ", ".join(f"{name} {metadata.version(name)}" for name in sorted(set(names)))
    text = Path(import_module(module).__file__).read_bytes()
    return f"{module} {hashlib.sha256(text).hexdigest()[:10]}"
