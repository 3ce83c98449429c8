"""Anomaly detection in multivariate time series with LightMMoE.

``lmmoe.load`` reads data, ``lmmoe.detector`` makes detectors, ``lmmoe.metrics`` judges scores:

>>> import lmmoe
>>> series = lmmoe.load("synthetic", "web-1")
>>> model = lmmoe.detector("MTSExample").fit(series.train)
>>> scores = model.decision_function(series.test)
>>> round(lmmoe.metrics.average_precision(labels=series.labels, scores=scores), 1) > 0
True
"""

from importlib import import_module

# Where each public name lives; looked up when first used, so that an import costs nothing.
_HOMES = {
    "DataError": "lmmoe.errors",
    "Series": "lmmoe.data",
    "load": "lmmoe.data",
    "entities": "lmmoe.data",
    "detector": "lmmoe.detectors",
    "save_detector": "lmmoe.detectors.saving:save",
    "load_detector": "lmmoe.detectors.saving:load",
}

__all__ = [*_HOMES, "metrics"]


def __getattr__(name: str) -> object:
    if name == "metrics":
        return import_module("lmmoe.metrics")
    if name not in _HOMES:
        raise AttributeError(f"module 'lmmoe' has no attribute {name!r}")
    module, _, attribute = _HOMES[name].partition(":")
    return getattr(import_module(module), attribute or name)


def __dir__() -> list[str]:
    return sorted(__all__)
