"""Checking values that people type, in profiles and as settings, against type hints."""

from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

WORDS = {
    str: "a text",
    bool: "true or false",
    int: "a whole number",
    float: "a number (YAML reads 1e-3 as text: write 0.001)",
    list: "a list",
    dict: "'key: value' lines",
    NoneType: "nothing",
}


def check(name: str, value: object, kind: Any) -> None:  # noqa: ANN401 a type is anything
    """Raise `ValueError` where a value is not of the annotated kind, at any depth."""
    origin, inner = get_origin(kind) or kind, get_args(kind)
    if not _fits(value, kind):
        raise ValueError(f"{name}={value!r}: expected {_plain(kind)}")
    if origin is list:
        for item in value:
            check(name, item, inner[0])
    if origin is dict:
        for key, item in value.items():
            check(f"{name} (key)", key, inner[0])
            check(f"{name}.{key}", item, inner[1])


def _fits(value: object, kind: Any) -> bool:  # noqa: ANN401
    """Whether the value itself is of the kind, whatever is inside it."""
    origin = get_origin(kind) or kind
    if origin is Any:
        return True
    if origin is Literal:
        return value in get_args(kind)
    if origin in (Union, UnionType):
        return any(_fits(value, choice) for choice in get_args(kind))
    if origin in (int, float):
        # bool is an int to Python, but "seeds: [yes]" is a slip; NumPy's numbers are welcome.
        wide = {int: Integral, float: Real}[origin]
        return isinstance(value, wide) and not isinstance(value, bool)
    return isinstance(value, origin)


def _plain(kind: Any) -> str:  # noqa: ANN401
    origin = get_origin(kind) or kind
    if origin is Literal:
        return " or ".join(map(repr, get_args(kind)))
    if origin in (Union, UnionType):
        return " or ".join(map(_plain, get_args(kind)))
    return WORDS.get(origin, str(kind))
