"""The frame of the command line: bad usage, exit statuses."""

import pytest

from lmmoe.__main__ import main
from lmmoe.errors import DataError


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
