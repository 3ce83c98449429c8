"""The watch as a program in a pipe."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import termios
import threading
import time
import urllib.request
from contextlib import contextmanager

import numpy as np
import pytest
from test_live_watch import INCIDENT, quiet
from watched import TEST, csv, model, stamp

from lmmoe.errors import DataError
from lmmoe.live import pipe
from lmmoe.live.watch import Watch

LINES = b"\n".join(csv(INCIDENT)) + b"\n"
SIZE = 1031  # F_SETPIPE_SZ, Linux's
QUIET = str(quiet(model()))


linux = pytest.mark.skipif(sys.platform != "linux", reason="makes a pipe small, by Linux's call")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return model().save(tmp_path_factory.mktemp("model") / "model.safetensors")


def command(path, *options):
    return [sys.executable, "-m", "lmmoe", "watch", str(path), "--threshold", QUIET, *options]


def until(reached, patience=60.0):
    end = time.monotonic() + patience
    while not reached():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def alarms(out):
    return [json.loads(line) for line in out.splitlines()]


def here(path, lines, sink, **options):
    """Watch lines in this process, from one pipe to another; give the exit status."""
    read, write = os.pipe()
    try:
        os.write(write, lines)  # less than a pipe holds
        os.close(write)
        return pipe.watch(path, source=read, sink=sink, threshold=QUIET, **options)
    finally:
        os.close(read)


def loaded(path):
    made = Watch(model(), threshold=1.0)
    made.load(path)
    return made


class Pipe:
    """A pipe with both ends open."""

    def __init__(self):
        self.read, self.write = os.pipe()

    def found(self):
        """What nobody has read yet."""
        return os.read(self.read, 1 << 20) if waiting(self.read) else b""


@pytest.fixture
def out():
    pipe = Pipe()
    yield pipe
    os.close(pipe.read)
    os.close(pipe.write)


def test_in_a_pipe_it_writes_json_lines_only_and_exits_with_0(path):
    done = subprocess.run(command(path), input=LINES, capture_output=True, timeout=120)
    assert done.returncode == 0
    assert [alarm["row"] for alarm in alarms(done.stdout)] == [100]
    counts = {"rows": 200, "scored": 192, "alarms": 1, "unscored": {"warming up": 8}}
    assert json.loads(done.stderr.splitlines()[-1]) == counts


def test_with_a_state_a_restart_in_the_middle_changes_nothing(path, out, tmp_path, capfd):
    lines = csv(INCIDENT)
    for cut in (1, 105, 199):  # the last line has no end
        state = tmp_path / f"{cut}" / "state.safetensors"
        assert here(path, b"\n".join(lines[:cut]), out.write, state=state) == 0
        assert here(path, b"\n".join(lines[cut:]), out.write, state=state) == 0
        assert [alarm["row"] for alarm in alarms(out.found())] == [100]
        assert f"going on from {state}, after row {cut - 2}" in capfd.readouterr().err


def test_killed_it_goes_on_from_its_last_state_and_rows_sent_again_are_left_out(path, tmp_path):
    state, lines = tmp_path / "state.safetensors", csv(INCIDENT)
    watching = command(path, "--state", str(state), "--save-every", "20")
    killed = subprocess.Popen(watching, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    killed.stdin.write(b"\n".join(lines[:91]) + b"\n")
    killed.stdin.flush()
    until(lambda: state.exists() and loaded(state).rows == 80)
    killed.kill()
    killed.wait()
    done = subprocess.run(watching, input=b"\n".join(lines), capture_output=True, timeout=120)
    assert [alarm["time"] for alarm in alarms(done.stdout)] == [stamp(100)]
    assert json.loads(done.stderr.splitlines()[-1])["scored"] == 192


def test_a_damaged_or_foreign_state_is_told_and_replaced(path, out, tmp_path, capfd):
    state = tmp_path / "state.safetensors"
    for damage in (b"", b"lmmoe live state 1, cut", None):
        Watch(model("CAD"), threshold=1.0).save(state)
        if damage is not None:
            state.write_bytes(damage)
        assert here(path, LINES, out.write, state=state) == 0
        assert len(alarms(out.found())) == 1
        assert ": starting afresh" in capfd.readouterr().err and loaded(state).rows == 200


def test_the_state_is_saved_on_the_way_and_a_full_disk_does_not_end_the_watch(
    path, out, tmp_path, monkeypatch, capfd
):
    tried = []

    def full(self, path):
        tried.append(self.rows)
        raise OSError("no space left")

    monkeypatch.setattr(Watch, "save", full)
    assert here(path, LINES, out.write, state=tmp_path / "s.safetensors", save_every=60) == 0
    assert tried == [60, 120, 180, 200] and len(alarms(out.found())) == 1
    assert capfd.readouterr().err.count("the state cannot be saved: no space left") == 4


@contextmanager
def meanwhile(act, *arguments):
    """Do something in a thread while the block runs; what goes wrong there fails the test."""
    wrong = []

    def run():
        try:
            act(*arguments)
        except Exception as error:  # noqa: BLE001 told below
            wrong.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    yield
    thread.join(timeout=60)
    assert not thread.is_alive() and not wrong, wrong


def waiting(pipe):
    """Bytes that nobody has read from a pipe."""
    count = bytearray(4)
    fcntl.ioctl(pipe, termios.FIONREAD, count)
    return int.from_bytes(count, sys.byteorder)


def when(reached, number):
    """Send this process a signal when something has come about."""
    until(reached)
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_signals_save_the_state_while_it_waits_for_rows(
    path, out, tmp_path, number, expected, capfd
):
    state = tmp_path / "state.safetensors"
    before = signal.getsignal(number)
    read, write = os.pipe()  # stays open: no end of the rows
    os.write(write, b"\n".join(csv(INCIDENT)[:151]) + b"\n")
    with meanwhile(when, lambda: waiting(out.read) > 100, number):
        status = pipe.watch(path, source=read, sink=out.write, threshold=QUIET, state=state)
    os.close(read), os.close(write)
    assert status == expected and '"rows": 150,' in capfd.readouterr().err
    assert signal.getsignal(number) is before
    made = Watch(model(), threshold=1.0)
    made.load(state)
    assert made.rows == 150


def incidents(count):
    """Lines without times: an incident every 25 rows."""
    rows = np.tile(TEST, (count // 8 + 1, 1))[: 25 * count]
    rows[20::25, 1] += 500
    return b"".join(",".join(map(repr, row.tolist())).encode() + b"\n" for row in rows)


@linux
def test_a_slow_reader_is_waited_for_and_loses_nothing(path, out):
    fcntl.fcntl(out.write, SIZE, 4096)  # no more than some alarms
    got = []

    def read_late():
        until(lambda: waiting(out.read) > 100)
        time.sleep(3 * pipe.PAUSE)  # it blocks all the while
        while len(alarms(b"".join(got))) < 30:
            got.append(os.read(out.read, 100))
            while not got[-1].endswith(b"\n"):
                got.append(os.read(out.read, 100))

    with meanwhile(read_late):
        assert here(path, incidents(30), out.write) == 0
    assert [alarm["row"] for alarm in alarms(b"".join(got))] == list(range(20, 750, 25))


@linux
def test_told_to_stop_while_nobody_reads_it_keeps_the_alarm(path, out, tmp_path, capfd):
    fcntl.fcntl(out.write, SIZE, 4096)
    state = tmp_path / "state.safetensors"
    with meanwhile(when, lambda: waiting(out.read) > 100, signal.SIGTERM):
        assert here(path, incidents(30), out.write, state=state) == 0
    first = alarms(out.found())
    said = capfd.readouterr().err
    assert f"{30 - len(first)} alarms were not taken: kept for the next start" in said
    fcntl.fcntl(out.write, SIZE, 1 << 16)
    assert here(path, b"", out.write, state=state) == 0
    again = alarms(out.found())
    assert [alarm["row"] for alarm in [*first, *again]] == list(range(20, 750, 25))


def test_a_gone_reader_ends_it_with_1_and_the_alarm_is_kept(path, tmp_path, out, capfd):
    state = tmp_path / "state.safetensors"
    read, write = os.pipe()
    os.close(read)
    assert here(path, LINES, write, state=state) == 1
    os.close(write)
    said = capfd.readouterr().err
    assert "the reader of the alarms is gone\n" in said
    assert "1 alarms were not taken: kept for the next start\n" in said
    assert '"rows": 101,' in said  # it ends with the row that could not be told
    assert here(path, b"", out.write, state=state) == 0
    assert [alarm["row"] for alarm in alarms(out.found())] == [100]


def test_metrics_say_what_came_by():
    made = Watch(model(), threshold=float(QUIET), tell=str)
    server = pipe.Metrics(made, 0)
    try:
        for line in [*csv(INCIDENT), b"garbage"]:
            made.feed(line)
            server.latency.observe(2e-4)
        url = f"http://127.0.0.1:{server.port}/metrics"
        with urllib.request.urlopen(url, timeout=10) as answer:
            text = answer.read().decode()
        with pytest.raises(DataError, match=f"no metrics on 127.0.0.1 port {server.port}: "):
            pipe.Metrics(made, server.port)
    finally:
        server.close()
    for line in (
        "lmmoe_rows_total 201.0",
        "lmmoe_rows_scored_total 192.0",
        "lmmoe_alarms_total 1.0",
        'lmmoe_rows_skipped_total{kind="wrong number of cells"} 1.0',
        'lmmoe_rows_unscored_total{kind="warming up"} 8.0',
        'lmmoe_row_seconds_bucket{le="0.0001"} 0.0',
        "lmmoe_row_seconds_count 202.0",
        "lmmoe_alarm_open 0.0",
        f"lmmoe_threshold {float(QUIET)}",
    ):
        assert line in text.splitlines(), line


def test_metrics_are_loaded_when_asked_for_and_need_the_package(path, monkeypatch, capfd):
    code = "import sys; from lmmoe.live import pipe; sys.exit('prometheus_client' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
    with open(os.devnull, "wb") as sink:
        assert here(path, LINES, sink.fileno(), metrics=0) == 0
    assert "metrics: http://127.0.0.1:" in capfd.readouterr().err
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(DataError, match="need the package prometheus-client. pip install"):
        pipe.watch(path, metrics=0)
