"""A fitted forecaster as an ONNX file, which any ONNX Runtime scores with: no PyTorch, no lmmoe.

>>> from lmmoe import export, live
>>> model = live.Model.load("model.safetensors")  # doctest: +SKIP
>>> export.write(model.detector, "model.onnx")  # doctest: +SKIP
>>> export.Runtime("model.onnx").decision_function(rows)  # doctest: +SKIP

Or in a shell: ``python -m lmmoe export model.safetensors model.onnx [--int8]``.

The file takes *raw* rows: the scaling is inside, in double precision as the detector does it, so
that nobody can forget it or scale twice, and a channel of large values loses nothing. The network
runs in single precision. What goes in and comes out is told in `lmmoe.report.export.graph`.

`graph` writes the file, `integers` makes an int8 copy of it, `runtime` scores with either, and
`precision` scores with PyTorch in half the bits. All but the last need the packages of the extra
``export`` (``pip install -e .[export]``).
"""

from importlib import import_module

# Where each public name lives; looked up when first used, so that the command line starts quickly.
_HOMES = {
    "Runtime": "runtime",
    "Bfloat16": "precision",
    "quantise": "integers",
    "write": "graph",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'lmmoe.report.export' has no attribute {name!r}")
    return getattr(import_module(f"lmmoe.report.export.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
