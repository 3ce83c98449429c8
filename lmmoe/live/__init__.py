"""Live detection: a fitted detector watches rows as they come; ``docs/live.md`` shows how.

`model` is a detector with the facts of its training rows, in one file; `scoring` scores a row,
given those before; `alarms` has thresholds and alarms; `stream` joins these to streams and fleets
of them; `watch` takes lines, follows their times and counts what was odd; `command` lets it read a
pipe, keeps its state and serves its counts.
"""

from importlib import import_module

# Where each public name lives; looked up when first used, so that the command line starts quickly.
_HOMES = {
    "Facts": "model",
    "Fleet": "stream",
    "Model": "model",
    "Stream": "stream",
    "Watch": "watch",
    "fit": "model",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'lmmoe.live' has no attribute {name!r}")
    return getattr(import_module(f"lmmoe.live.{_HOMES[name]}"), name)
