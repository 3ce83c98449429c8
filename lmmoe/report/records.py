"""Measurements that are kept: what was measured once, with the same code, is not measured again."""

import hashlib
import json
from collections.abc import Callable

from lmmoe import paths


def key(identity: dict[str, object]) -> str:
    """Sixteen hexadecimal digits of what a measurement depends on."""
    text = json.dumps(identity, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def kept(name: str, compute: Callable[[], dict]) -> dict:
    """Give the measurement ``name``, from the cache of runs or by ``compute``, which may raise."""
    file = paths.cache() / "efficiency" / f"{name}.json"
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # missing or damaged: measuring mends it
        found = compute()
        with paths.replacing(file) as part:
            part.write_text(json.dumps(found), encoding="utf-8")
        return found
