"""A notebook in batch: finished, ended by bad data, or failed; and what then lies where."""

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from small import told

from lmmoe.errors import DataError
from lmmoe.report import execute

BAD_DATA = "from lmmoe import DataError\nraise DataError('bad cell', file='a.csv', row=3)"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Write a notebook with these cells and execute it; knows where its result should lie."""
    monkeypatch.setenv("LMMOE_PROGRESS", "off")  # the run sets it: put back afterwards
    notebook, out = tmp_path / "{a}" / "book.ipynb", tmp_path / "{out}" / "pump-1.ipynb"
    notebook.parent.mkdir()  # braces: papermill fills them in

    def start(*sources):
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        cells = list(map(new_code_cell, sources))
        nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernel}), notebook)
        execute.run(notebook, out, parameters={"seeds": [3], "entity": "pump-1"})

    start.notebook, start.out = notebook, out
    start.failed = out.with_name("pump-1.failed.ipynb")
    return start


def cell_with(path, words):
    """The cell of a notebook whose code holds the words."""
    cells = nbformat.read(path, as_version=4).cells
    [found] = [cell for cell in cells if cell.cell_type == "code" and words in cell.source]
    return found


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_notebook_that_bad_data_ends_is_kept_as_far_as_it_came(run, capfd):
    run.out.parent.mkdir()
    run.failed.write_text("of an earlier start")
    run("print('before')", BAD_DATA, "print('after')")
    assert names_in(run.out.parent) == ["pump-1.ipynb", "pump-1.log"]
    assert cell_with(run.out, "'before'").outputs[0].text == "before\n"
    error = cell_with(run.out, "raise").outputs[-1]
    assert (error.ename, error.evalue) == ("DataError", "a.csv, row 3: bad cell")
    after = cell_with(run.out, "'after'")
    assert after.outputs == [] and after.execution_count is None
    assert "  book pump-1: DataError: a.csv, row 3: bad cell\n" in capfd.readouterr().err


def test_another_error_puts_the_notebook_aside_until_it_is_mended(run, capfd):
    run.out.parent.mkdir()
    run.out.write_text("the last good one")
    # A relative of DataError that even speaks of it.
    with told(DataError, str(run.failed), "a cell failed (ValueError: DataError)"):
        run("print('before')", "raise ValueError('DataError')")
    assert names_in(run.out.parent) == ["pump-1.failed.ipynb", "pump-1.ipynb", "pump-1.log"]
    assert run.out.read_text() == "the last good one"
    assert cell_with(run.failed, "'before'").outputs[0].text == "before\n"
    assert cell_with(run.failed, "raise").outputs[-1].ename == "ValueError"

    run("print(seeds, entity)")
    assert names_in(run.out.parent) == ["pump-1.ipynb", "pump-1.log"]
    assert cell_with(run.out, "print").outputs[0].text == "[3] pump-1\n"
    assert capfd.readouterr().err == ""


def test_a_report_needs_a_folder_that_can_be_written(tmp_path):
    with told(DataError, str(tmp_path), "cannot be written here (No such file or directory)"):
        execute._lock(tmp_path / "missing" / ".report.lock")
