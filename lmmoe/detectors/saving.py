"""Detectors as files: safetensors, with the settings as JSON in the header."""

import hashlib
import json
from pathlib import Path

import numpy as np

from lmmoe import paths
from lmmoe.detectors import detector
from lmmoe.detectors.base import Detector
from lmmoe.errors import DataError

Arrays = dict[str, np.ndarray]
FORMAT = "lmmoe detector 1"
OLDER = {"format", "detector", "settings", "threshold", "channels", "facts"}  # had no checksum
# What wrong contents raise somewhere below; AssertionError is torch's for an absent device.
UNFIT = (ArithmeticError, AssertionError, LookupError, RuntimeError, TypeError, ValueError)


def save(made: Detector, path: str | Path, *, facts: dict[str, object] | None = None) -> Path:
    """Write a fitted detector: what it learned, and its settings.

    The file is complete or not there. ``facts`` are plain values that its users need (`lmmoe.live`
    keeps the channels' names there). Raises `RuntimeError` for a detector that has not been fitted,
    `NotImplementedError` for one that is more than numbers and text.
    """
    if not made.savable:
        raise NotImplementedError(f"{made.name} holds objects that a file of numbers cannot keep")
    if not made.fitted:
        raise RuntimeError(f"{made.name} has not been fitted: there is nothing to save")
    head = {
        "format": FORMAT,
        "detector": made.name,
        "settings": json.dumps(made.settings, default=np.generic.item),
        "threshold": repr(made.threshold_),
        "channels": str(made.n_features_in_),
    }
    if facts is not None:
        head["facts"] = json.dumps(facts, allow_nan=False)
    arrays = made._state() | {"decision_scores": made.decision_scores_}
    return write(path, arrays, head)


def load(path: str | Path, *, device: str | None = None) -> Detector:
    """Load what `save` wrote; it then scores bit for bit as before. Nothing in it is executed.

    ``device`` replaces the one that the detector was fitted on, which may be absent here. Raises
    `DataError` for a damaged file or one of another kind.
    """
    arrays, head = read(path)
    try:
        settings = json.loads(head["settings"])
        if device is not None and "device" in settings:
            settings["device"] = device
        made = detector(head["detector"], **settings)
        made.n_features_in_ = int(head["channels"])
        made.decision_scores_ = arrays.pop("decision_scores")
        made.threshold_ = float(head["threshold"])
        made.labels_ = (made.decision_scores_ > made.threshold_).astype(int)
        made._restore(arrays)
        # Arrays of wrong shapes may fit together until rows are scored.
        probe = made.decision_function(np.zeros((made.min_rows, made.n_features_in_)))
        if probe.shape != (made.min_rows,) or made.decision_scores_.ndim != 1:
            raise ValueError("arrays of wrong shapes")
    except UNFIT as error:
        raise DataError(
            f"the model does not fit its own header ({error})",
            file=path,
            hint="If it was fitted on a device that is not here, give device='cpu'",
        ) from error
    return made


def write(path: str | Path, arrays: Arrays, head: dict[str, str]) -> Path:
    """Write arrays and texts with a checksum, complete or not there."""
    from safetensors.numpy import save_file

    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    head = head | {"sha256": _digest(arrays, head)}
    with paths.replacing(Path(path)) as part:
        save_file(arrays, part, metadata=head)
    return Path(path)


def read(path: str | Path, form: str = FORMAT) -> tuple[Arrays, dict[str, str]]:
    """Read what `write` wrote; raises as `header`, and where the checksum does not fit.

    A flipped bit in a weight would leave a file that loads, and wrong scores.
    """
    from safetensors import safe_open

    head = header(path, form)
    with safe_open(path, framework="numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    checksum = head.pop("sha256", None)
    older = checksum is None and head.keys() <= OLDER  # else its name may be damaged
    if not older and checksum != _digest(arrays, head):
        problem = "damaged: the contents do not fit the checksum beside them"
        raise DataError(problem, file=path, hint="Take a whole copy, or make it anew")
    return arrays, head


def header(path: str | Path, form: str = FORMAT) -> dict[str, str]:
    """Read what was written beside the arrays; the file must have its full length.

    Raises `DataError` for a missing or truncated file or one of another format than ``form``.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            head = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise DataError(f"not readable ({error})", file=path) from error
    if head.get("format") != form:
        problem = f"of another kind or format ({head.get('format')!r})"
        raise DataError(problem, file=path, hint=f"Expected {form!r}: make it anew")
    return head


def facts(path: str | Path) -> dict[str, object] | None:
    """Read the facts that `save` was given, or None; raises as `header`, and for broken ones."""
    try:
        found = json.loads(header(path).get("facts", "null"))
    except json.JSONDecodeError as error:
        raise DataError(f"the facts beside the model are not JSON ({error})", file=path) from error
    if not isinstance(found, dict | None):
        raise DataError("the facts beside the model are no names with values", file=path)
    return found


def fingerprint(made: Detector) -> str:
    """Sixteen hexadecimal digits that tell fitted detectors apart, whatever their device is."""
    settings = {name: value for name, value in made.settings.items() if name != "device"}
    text = json.dumps([made.name, settings], default=np.generic.item)
    return _digest(made._state(), {"detector": text})[:16]


def _digest(arrays: Arrays, head: dict[str, str]) -> str:
    """SHA-256 (FIPS 180-4) of named arrays and texts, in hexadecimal digits."""
    digest = hashlib.sha256(json.dumps(head, sort_keys=True).encode())
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
