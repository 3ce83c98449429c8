"""Detectors as files: safetensors, with the settings as JSON in the header.

Nothing in a file is executed. Before anything is built or run, its checksum must fit, its detector
must be one of `PRESETS`, and its arrays must be as large as its settings say.
"""

import hashlib
import json
import os
from pathlib import Path

import numpy as np

from lmmoe import paths
from lmmoe.detectors import PRESETS, detector
from lmmoe.detectors.base import Arrays, Detector
from lmmoe.errors import DataError

FORMAT = "lmmoe detector 1"
LARGEST = 10_000_000  # values in the fewest rows that a detector of a file can score
# What wrong contents raise somewhere below; AssertionError is torch's for an absent device.
UNFIT = (AssertionError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError)
UNFIT += (ArithmeticError, ValueError)


def save(made: Detector, path: str | Path, *, facts: dict[str, object] | None = None) -> Path:
    """Write a fitted detector: what it learned, and its settings.

    ``facts`` are plain values that its users need (`lmmoe.live` keeps the channels' names there).
    Raises `RuntimeError` for a detector that has not been fitted, `NotImplementedError` for one
    of another package, and as `write`.
    """
    if not made.savable:
        raise NotImplementedError(f"{made.name}: a file names detectors of this package only")
    if not made.fitted:
        raise RuntimeError(f"{made.name} has not been fitted: there is nothing to save")
    head = {
        "format": FORMAT,
        "detector": made.name,
        "settings": json.dumps(made.settings, default=np.generic.item),
        "threshold": repr(made.threshold_),
        "channels": str(made.n_features_in_),
    }
    if hasattr(made, "feature_names_in_"):
        head["columns"] = json.dumps(list(made.feature_names_in_))
    if facts is not None:
        head["facts"] = json.dumps(facts, allow_nan=False)
    return write(path, made._state() | {"decision_scores": made.decision_scores_}, head)


def load(path: str | Path, *, device: str | None = None) -> Detector:
    """Load what `save` wrote; it then scores bit for bit as before, and has the ``facts``.

    ``device`` replaces the one that the detector was fitted on, which may be absent here. Raises
    `DataError` for a damaged file or one of another kind.
    """
    arrays, head = read(path)
    try:
        if head["detector"] not in PRESETS:
            raise ValueError(f"no detector {head['detector']!r} among lmmoe's own")
        settings = json.loads(head["settings"])
        if device is not None and "device" in settings:
            settings["device"] = device
        made, scores = detector(head["detector"], **settings), arrays.pop("decision_scores")
        rows, channels = made.min_rows, int(head["channels"])
        if scores.ndim != 1 or rows > len(scores) or not 0 < rows * channels <= LARGEST:
            raise ValueError(f"it cannot have learned from {scores.shape} rows")
        wide = getattr(made, "width", made.window) * channels
        for name, shape in (("shift", channels), ("scale", channels), ("mean", wide)):
            if name in arrays and arrays[name].shape != (shape,):
                raise ValueError(f"{name} has the shape {arrays[name].shape}, not ({shape},)")
        made.n_features_in_, made.decision_scores_ = channels, scores
        made.threshold_ = float(head["threshold"])
        made.labels_ = (scores > made.threshold_).astype(int)
        made.facts = json.loads(head.get("facts", "null"))
        if "columns" in head:
            made.feature_names_in_ = np.array(json.loads(head["columns"]), dtype=object)
        made._restore(arrays)
        # Arrays of wrong shapes may fit together until rows are scored.
        if made.decision_function(np.zeros((rows, channels))).shape != (rows,):
            raise ValueError("arrays of wrong shapes")
    except UNFIT as error:
        problem = f"the model does not fit its own header ({str(error)[:300]})"
        hint = "If it was fitted on a device that is not here, give device='cpu'"
        raise DataError(problem, file=path, hint=hint) from error
    return made


def write(path: str | Path, arrays: Arrays, head: dict[str, str]) -> Path:
    """Write arrays and texts with a checksum, on the disk whole or not there; or `OSError`."""
    from safetensors.numpy import save as packed

    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    content = packed(arrays, head | {"sha256": _digest(arrays, head)})
    with paths.replacing(Path(path)) as part, part.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return Path(path)


def read(
    path: str | Path, form: str = FORMAT, *, whole: bool = True
) -> tuple[Arrays, dict[str, str]]:
    """Read what `write` wrote: arrays by name, and texts; or, not ``whole``, the texts alone.

    Raises `DataError` for a missing or truncated file, one of another format than ``form``, and
    (``whole``) one whose checksum does not fit: a flipped bit would leave wrong scores.
    """
    from safetensors import SafetensorError, safe_open

    arrays = {}
    try:
        with safe_open(path, framework="numpy") as file:
            head = file.metadata() or {}
            if whole and head.get("format") == form:
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, AttributeError, TypeError) as error:  # or unknown to NumPy
        raise DataError(f"not readable ({error})", file=path) from error
    if head.get("format") != form:
        problem = f"of another kind or format ({head.get('format')!r})"
        raise DataError(problem, file=path, hint=f"Expected {form!r}: make it anew")
    if head.pop("sha256", None) != _digest(arrays, head) and whole:
        problem = "damaged: the contents do not fit the checksum beside them"
        raise DataError(problem, file=path, hint="Take a whole copy, or make it anew")
    return arrays, head


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
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
    return digest.hexdigest()
