"""The frame of the command line: help, bad usage, exit statuses."""

import subprocess
import sys

import pytest

from lmmoe.__main__ import main
from lmmoe.errors import DataError


def test_help_names_the_commands_and_imports_nothing_heavy():
    code = (
        "import sys, lmmoe.__main__ as cli\n"
        "try: cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('numpy', 'pandas', 'torch', 'requests', 'tqdm') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "fetch" in done.stdout and "list the data sets" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


def test_exit_statuses(monkeypatch, capsys):
    for words in ([], ["no-such-command"], ["fetch"], ["fetch", "asd"]):
        with pytest.raises(SystemExit) as caught:
            main(words)
        assert caught.value.code == 2 and "usage: python -m lmmoe" in capsys.readouterr().err
    error = DataError("bad cell", file="a.csv", row=3)
    for raised, status, said in (
        (error, 1, "error: a.csv, row 3: bad cell\n"),
        (KeyboardInterrupt, 130, "interrupted\n"),
    ):

        def fail(*arguments, raised=raised, **options):
            raise raised

        monkeypatch.setattr("lmmoe.data.data_root", fail)
        assert main(["data"]) == status and capsys.readouterr().err == said
