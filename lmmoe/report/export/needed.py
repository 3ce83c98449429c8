"""The packages that ONNX needs, and the error where they are not there."""

from importlib.util import find_spec

from lmmoe.errors import DataError

WRITING = ("onnx", "onnxruntime", "onnxscript")
SCORING = ("onnxruntime",)


def check(packages: tuple[str, ...]) -> None:
    """Raise `DataError` that names the packages which are not installed."""
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise DataError(
            f"ONNX needs {', '.join(missing)}, not installed here",
            hint="Install the extra: pip install -e .[export]",
        )
