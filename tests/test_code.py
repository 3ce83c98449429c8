"""The key of the code: it changes with the meaning, and with nothing else."""

import ast
import re
from pathlib import Path

import pytest

from lmmoe import code, detectors

PACKAGE = Path(code.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
# A small package in which "model" imports "maths" directly and "scaling" deeper in its code.
TREE = {
    "__init__": '"""The package."""\nVERSION = 1\n',
    "model": (
        '"""A model."""\n'
        "import numpy as np\n"
        "from lmmoe import maths, paths\n"
        "from lmmoe.errors import DataError\n"
        "\n"
        "RATE = 0.5  # why\n"
        "\n"
        "class Model:\n"
        '    """It learns."""\n'
        "    def fit(self, x):\n"
        '        """Fit."""\n'
        "        from lmmoe.tools import scaled\n"
        "        return scaled(maths.square(x) * RATE)\n"
    ),
    "maths": "def square(x):\n    return x * x\n",
    "paths": "HOME = '.'\n",
    "errors": "class DataError(ValueError):\n    '''Bad.'''\n",
    "tools/__init__": "from lmmoe.tools.scaling import scaled\n",
    "tools/scaling": "def scaled(x):\n    return x / 2\n",
    "other": "NUMBER = 1\n",
}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Put the small package in lmmoe's place; returns a function that edits and gives the key."""
    folder = tmp_path / "lmmoe"
    for name, text in TREE.items():
        path = folder / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(code, "__file__", str(folder / "code.py"))

    def key(*modules, **texts):
        for name, text in texts.items():
            (folder / f"{name.replace('__in__', '/')}.py").write_text(text)
        code._tree.cache_clear()
        code._meaning.cache_clear()
        return code.key(*(modules or ["lmmoe.model"]))

    yield key
    code._tree.cache_clear()
    code._meaning.cache_clear()


def test_a_key_is_ten_digits_and_stays(package):
    assert re.fullmatch("[0-9a-f]{10}", package())
    assert package() == package()


def test_comments_docstrings_and_layout_do_not_count(package):
    before = package()
    text = TREE["model"]
    for old, new in (
        ("  # why", ""),
        ("# why", "# for another reason"),
        ('"""A model."""', '"""Another text."""'),
        ('"""A model."""\n', ""),
        ('    """It learns."""\n', ""),
        ('        """Fit."""\n', ""),
        ("RATE = 0.5", "RATE = (\n    0.5\n)"),
        ("\n\nclass", "\n\n\n\nclass"),
        ("self, x", "self, x,"),
    ):
        assert old in text
        assert package(model=text.replace(old, new)) == before, old


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("RATE = 0.5", "RATE = 0.25"),
        ("* RATE", "+ RATE"),
        ("square(x)", "square(-x)"),
        ("def fit(self, x)", "def fit(self, x, more=1)"),
        ("class Model:", "class Model(dict):"),
    ],
)
def test_meaning_counts(package, old, new):
    before = package()
    assert package(model=TREE["model"].replace(old, new)) != before
    assert package(model=TREE["model"]) == before


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("maths", "def square(x):\n    return x ** 3\n"),
        ("tools__in__scaling", "def scaled(x):\n    return x / 3\n"),
        ("tools__in____init__", "from lmmoe.tools.scaling import scaled\nBASE = 2\n"),
    ],
)
def test_what_is_imported_counts(package, module, text):
    before = package()
    assert package(**{module: text}) != before


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("paths", "HOME = '/'\n"),
        ("errors", "class DataError(Exception): pass\n"),
        ("__init__", "VERSION = 2\n"),
        ("other", "NUMBER = 2\n"),
    ],
)
def test_plumbing_and_strangers_do_not_count(package, module, text):
    before = package()
    assert package(**{module: text}) == before


def test_a_name_that_is_a_module_and_a_function_brings_both(package):
    tools = "from lmmoe.tools.scaling import scaled\nfrom lmmoe.maths import square\n"
    model = "from lmmoe.tools import scaling, square\n"
    before = package(model=model, tools__in____init__=tools)
    assert package(maths="def square(x):\n    return 0\n") != before


def test_modules_that_import_each_other_are_no_trap(package):
    before = package(maths="from lmmoe.model import RATE\n\ndef square(x):\n    return x * RATE\n")
    assert package(model=TREE["model"] + "MORE = 1\n") != before


# --- several modules ---


def test_the_key_of_several_modules_changes_with_each(package):
    modules = ["lmmoe.model", "lmmoe.other"]
    before = package(*modules)
    assert package(*modules, other="NUMBER = 2\n") != before
    assert package(*modules, other=TREE["other"]) == before
    assert package(*modules, maths="def square(x):\n    return x\n") != before
    assert package(*modules, maths=TREE["maths"]) == before
    assert package(*modules, errors="class DataError(Exception): pass\n") == before


def test_the_key_of_several_modules_is_that_of_no_part(package):
    both = package("lmmoe.model", "lmmoe.other")
    assert re.fullmatch("[0-9a-f]{10}", both)
    assert len({both, package("lmmoe.model"), package("lmmoe.other")}) == 3


def test_neither_order_nor_repetition_of_modules_counts(package):
    both = package("lmmoe.model", "lmmoe.other")
    assert package("lmmoe.other", "lmmoe.model") == both
    assert package("lmmoe.model", "lmmoe.other", "lmmoe.model") == both
    # What the first imports anyway adds nothing.
    assert package("lmmoe.model", "lmmoe.maths") == package("lmmoe.model")


# --- the package itself ---


def test_what_the_real_keys_rest_on():
    assert code._closure("lmmoe.detectors.lightmmoe") == {
        "lmmoe.detectors.base",
        "lmmoe.detectors.forecaster",
        "lmmoe.detectors.lightmmoe",
        "lmmoe.detectors.mixture",
        "lmmoe.detectors.neural",
        "lmmoe.detectors.scaling",
        "lmmoe.detectors.windowed",
        "lmmoe.kinds",
        "lmmoe.mmoe",
        "lmmoe.mmoe.adaptive",
        "lmmoe.mmoe.byhand",
        "lmmoe.mmoe.experts",
        "lmmoe.mmoe.gates",
        "lmmoe.mmoe.parts",
        "lmmoe.mmoe.scoring",
        "lmmoe.mmoe.towers",
        "lmmoe.training",
    }
    metrics = {path.stem for path in (PACKAGE / "metrics").glob("*.py")} - {"__init__"}
    assert {f"lmmoe.metrics.{name}" for name in metrics} <= code._closure("lmmoe.evaluation")


@pytest.mark.parametrize("name", detectors.names())
def test_each_detectors_key_rests_on_its_own_module_and_the_contract(name):
    module = detectors.entry(name).cls.__module__
    assert {module, "lmmoe.detectors.base"} <= code._closure(module)
    assert not code._closure(module) & code.PLUMBING


def test_plumbing_exists():
    assert all(code._file(name) for name in code.PLUMBING)
    assert code._file("lmmoe.no_such_module") is None


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_are_of_the_one_kind_that_keys_follow(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import"
        if isinstance(node, ast.Import):
            assert not [alias.name for alias in node.names if alias.name.startswith("lmmoe")]
