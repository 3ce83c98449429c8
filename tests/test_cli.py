import subprocess
import sys

import pytest

from lmmoe.__main__ import main
from lmmoe.errors import DataError


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """No data of this machine's."""
    monkeypatch.delenv("LMMOE_DATA", raising=False)


def run(*arguments, **options):
    command = [sys.executable, "-m", "lmmoe", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **options)


# --- the frame ---


def test_help_names_the_commands():
    done = run("--help")
    assert done.returncode == 0
    assert "fetch" in done.stdout
    assert "list the data sets" in done.stdout


def test_help_imports_nothing_heavy():
    code = (
        "import sys, lmmoe, lmmoe.__main__ as cli\n"
        "try: cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('numpy', 'pandas', 'torch', 'requests', 'tqdm') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("arguments", [[], ["no-such-command"], ["fetch"], ["fetch", "asd"]])
def test_bad_usage_is_exit_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: python -m lmmoe" in capsys.readouterr().err


def test_a_data_error_is_a_message_and_exit_status_1(monkeypatch, capsys):
    def fail(*arguments, **options):
        raise DataError("bad cell", file="a.csv", row=3)

    monkeypatch.setattr("lmmoe.data.fetch.inventory", fail)
    assert main(["data"]) == 1
    assert capsys.readouterr().err == "error: a.csv, row 3: bad cell\n"


def test_ctrl_c_is_exit_status_130(monkeypatch, capsys):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("lmmoe.data.fetch.fetch_smd", interrupt)
    assert main(["fetch", "smd"]) == 130
    assert "interrupted" in capsys.readouterr().err
