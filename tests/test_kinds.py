"""Values that people type, against type hints."""

import re
from typing import Any, Literal

import numpy as np
import pytest

from lmmoe import kinds


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (1, int),
        (np.int64(1), int),
        (1, float),
        (np.float32(1), float),
        (True, bool),
        (None, int | None),
        (1, int | None),
        ("a", Literal["a", "b"]),
        ([1, 2], list[int]),
        ([], list[int]),
        ({"a": {"b": 1}}, dict[str, dict[str, Any]]),
        ([1], list[int] | None),
        (None, Any),
    ],
    ids=str,
)
def test_values_of_their_kind_pass(value, kind):
    kinds.check("x", value, kind)


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        (1, bool, "x=1: expected true or false"),
        (True, float, "x=True: expected a number"),
        ("a", int | None, "x='a': expected a whole number or nothing"),
        ("c", Literal["a", "b"], "x='c': expected 'a' or 'b'"),
        (1, Literal["a", "b"], "x=1: expected 'a' or 'b'"),
        ([1, "2"], list[int], "x='2': expected a whole number"),
        ({"a": {"b": "1"}}, dict[str, dict[str, int]], "x.a.b='1': expected a whole number"),
        ({"a": {1: 1}}, dict[str, dict[str, int]], "x.a (key)=1: expected a text"),
    ],
    ids=str,
)
def test_values_of_another_kind_are_named(value, kind, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        kinds.check("x", value, kind)
