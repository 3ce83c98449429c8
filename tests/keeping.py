"""For the tests of kept series: who was asked to read, and equality to the bit."""

import inspect
from dataclasses import fields
from importlib import import_module

import numpy as np

from lmmoe.data import Series, kept

MACHINE = ("smd", "machine-1-2")


def watched(monkeypatch):
    """Let everything be kept; which reader is asked from now on, each time one is."""
    monkeypatch.setattr(kept, "WORTH", 1)
    monkeypatch.setattr(kept, "SETTLED", -1e9)  # a file server's clock may run ahead
    calls = []
    for name in ("smd", "own", "telemanom", "psm", "swat", "folders"):
        module = import_module(f"lmmoe.data.{name}")

        def read(*given, inner=module.read, name=name, **options):
            calls.append(name)
            return inner(*given, **options)

        read.__signature__ = inspect.signature(module.read)  # whose names are the options
        monkeypatch.setattr(module, "read", read)
    return calls


def same(one, other):
    for field in fields(Series):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if isinstance(a, np.ndarray):
            assert a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
            assert a.flags.c_contiguous and b.flags.c_contiguous
            assert not a.flags.writeable and not b.flags.writeable
        else:
            assert a == b and repr(a) == repr(b), field.name  # repr tells 1440 from 1440.0
    assert one.id == other.id and one.events == other.events
    return True


def files(cache):
    return sorted((cache / "data").glob("*")) if cache.exists() else []
