"""Live detection: a fitted detector watches rows as they come; ``docs/live.md`` shows how.

`model` is a detector with the facts of its training rows, in one file; `scoring` scores a row,
given those before; `alarms` has thresholds and alarms; `stream` joins these to streams and fleets
of them; `lines` reads rows, `clock` follows their times; `watch` joins it all for many machines;
`command` lets it read a pipe, `serving` keeps its state and serves its counts.
"""

from importlib import import_module

__all__ = ["Facts", "Fleet", "Model", "Stream", "Watch", "fit"]


def __getattr__(name: str) -> object:
    # Looked up when first used, so that the command line starts quickly.
    if name in __all__:
        home = {"Fleet": "stream", "Stream": "stream", "Watch": "watch"}.get(name, "model")
        return getattr(import_module(f"lmmoe.live.{home}"), name)
    raise AttributeError(f"module 'lmmoe.live' has no attribute {name!r}")
