"""What a reader finds in the repository: notebooks that were run, numbers that were computed."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
import yaml

from lmmoe.report import readme

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
# Modules above 300 lines, none of which may grow.
LARGER = {
    "ablation.py": 320,
    "amad.py": 360,
    "claims.py": 441,
    "command.py": 340,
    "compress.py": 462,
    "cost.py": 499,
    "deployment.py": 449,
    "export.py": 318,
    "mmoe.py": 525,
    "model.py": 290,
    "pitfalls.py": 423,
    "reading.py": 445,
    "stream.py": 370,
    "synthetic.py": 406,
    "watch.py": 470,
}
MODULES = sorted((ROOT / "lmmoe").rglob("*.py"))


def code_cells(path):
    cells = nbformat.read(path, as_version=4).cells
    return [cell for cell in cells if cell.cell_type == "code" and cell.source.strip()]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
class TestNotebooks:
    def test_was_executed_in_order_without_errors(self, path):
        cells = code_cells(path)
        assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
        outputs = [output for cell in cells for output in cell.outputs]
        assert not [output for output in outputs if output.output_type == "error"]
        assert not [output for output in outputs if output.get("name") == "stderr"]

    def test_nbval_has_something_to_compare(self, path):
        tagged = [c for c in code_cells(path) if "nbval-check-output" in c.metadata.get("tags", [])]
        assert tagged
        assert all(cell.outputs for cell in tagged)

    def test_is_normalised_and_small(self, path):
        text = path.read_text(encoding="utf-8")
        assert "papermill" not in nbformat.reads(text, as_version=4).metadata
        assert '"execution": {' not in text
        assert path.stat().st_size < 1_000_000

    def test_holds_no_code_that_belongs_to_the_module(self, path):
        for cell in code_cells(path):
            nodes = ast.walk(ast.parse(cell.source))
            kinds = (ast.FunctionDef, ast.ClassDef, ast.Lambda)
            assert not [node for node in nodes if isinstance(node, kinds)], cell.source
            if "parameters" not in cell.metadata.get("tags", []):
                assert len(cell.source.splitlines()) <= 15, cell.source

    def test_begins_with_a_title_and_ends_with_a_reading(self, path):
        cells = nbformat.read(path, as_version=4).cells
        assert cells[0].source.startswith("# ")
        assert "What this shows" in cells[-1].source
        assert "synthetic" in " ".join(cell.source for cell in cells)


def test_nbval_notices_a_changed_number(tmp_path):
    path = tmp_path / "changed.ipynb"
    book = nbformat.read(ROOT / "notebooks" / "01_data_exploration.ipynb", as_version=4)
    checked = next(c for c in book.cells if "nbval-check-output" in c.metadata.get("tags", []))
    for output in checked.outputs:
        for kind, text in output["data"].items():
            output["data"][kind] = text.replace("4000", "4001")
    nbformat.write(book, path)
    words = ["-m", "pytest", "-q", "--nbval-lax", "--nbval-current-env", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, *words, str(path)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "1 failed" in done.stdout


def test_the_readme_holds_what_the_tables_say():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert readme.rendered(text, "smd") == text, "run 'make readme'"


def test_conda_and_pip_install_the_same():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    pip = next(entry["pip"] for entry in conda if isinstance(entry, dict))
    assert pip == ["-e .[report,test,live,export]"]
    assert {"report", "test"} <= set(project["optional-dependencies"])


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_stay_small(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LARGER.get(path.name, 300)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            start = node.body[1 if ast.get_docstring(node) else 0 :]
            length = node.end_lineno - (start[0].lineno if start else node.end_lineno) + 1
            assert length <= 50, f"{node.name} is {length} lines"


def test_no_large_file_is_kept():
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout
    files = [ROOT / name for name in names.splitlines()]
    large = [path for path in files if path.is_file() and path.stat().st_size > 2_000_000]
    assert not large


def test_the_linter_has_no_complaint():
    words = [sys.executable, "-m", "ruff", "check", "."]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
