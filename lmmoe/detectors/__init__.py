"""Detectors by name. Each module in this folder adds its own; no list is kept elsewhere."""

import pkgutil
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import NamedTuple, get_type_hints

from lmmoe import kinds
from lmmoe.detectors.base import Detector, setting_names

__all__ = ["Detector", "detector", "entry", "names", "register"]


class _Entry(NamedTuple):
    cls: type[Detector]
    settings: dict[str, object]


_REGISTRY: dict[str, _Entry] = {}


def register(name: str, **settings: object) -> Callable[[type[Detector]], type[Detector]]:
    """Offer the class below under ``name``, with other defaults for some of its settings."""

    def add(cls: type[Detector]) -> type[Detector]:
        _REGISTRY[name] = _Entry(cls, settings)
        return cls

    return add


@cache
def names() -> tuple[str, ...]:
    """The names of all detectors."""
    for module in pkgutil.iter_modules(__path__, f"{__name__}."):
        import_module(module.name)
    return tuple(sorted(_REGISTRY, key=str.lower))


def entry(name: str) -> _Entry:
    """The class and the preset settings behind a name.

    A name with a dot is the import path of another package's class
    (`lmmoe.detectors.imported`).
    """
    if name in names():
        return _REGISTRY[name]
    if "." in name:
        from lmmoe.detectors.imported import imported  # only when it is asked for

        return _Entry(imported(name), {})
    raise ValueError(f"no detector {name!r}: there are {', '.join(names())}")


def detector(name: str, *, seed: int = 0, **settings: object) -> Detector:
    """Make a detector: ``detector("LightMMoE", seed=0, epochs=3)``.

    Raises `ValueError` for a name or a setting that does not exist, and for a value of another type
    or out of range.
    """
    cls, preset = entry(name)
    known = _kinds(cls)
    for setting, value in settings.items():
        if setting not in known:
            raise ValueError(f"{name} has no setting {setting!r}: it has {', '.join(known)}")
        kinds.check(setting, value, known[setting])
    made = cls(seed=seed, **(preset | settings))
    made.name = name
    return made


def _kinds(cls: type[Detector]) -> dict[str, object]:
    """Type hints of a detector's settings."""
    hints: dict[str, object] = {}
    for base in reversed(cls.__mro__[:-1]):
        if "__init__" in vars(base):
            hints |= get_type_hints(base.__init__)
    return {name: hints[name] for name in setting_names(cls)}
