"""Kept series that were damaged, cannot be written, or are written by several at once."""

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keeping import MACHINE, files, same
from made_up import write

from lmmoe import data
from lmmoe.data import kept

pytestmark = pytest.mark.usefixtures("reads")


class Trap:
    """Leaves a trace when it is unpickled."""

    def __init__(self, trace):
        self.trace = str(trace)

    def __reduce__(self):
        return os.mkdir, (self.trace,)


@pytest.mark.parametrize("damage", ["cut", "empty", "garbage", "header", "pickle", "folder"])
def test_damaged_files_are_rebuilt_without_a_word(root, own_cache, reads, damage, tmp_path):
    whole = data.load(*MACHINE, root)
    (file,) = files(own_cache)
    content = file.read_bytes()
    bad = {
        "cut": content[:-1],
        "empty": b"",
        "garbage": bytes(range(256)) * 9,
        "header": content[:8] + b"{" + content[9:60].replace(b'"', b"'") + content[60:],
        "pickle": pickle.dumps(Trap(tmp_path / "trace")),
    }
    file.unlink()
    if damage == "folder":
        file.mkdir()
    else:
        file.write_bytes(bad[damage])
    for _ in range(2):
        assert same(whole, data.load(*MACHINE, root))
    assert not (tmp_path / "trace").exists()
    if damage != "folder":  # nothing can be put in the place of a folder
        assert len(reads) == 2 and file.stat().st_size == len(content)


@settings(
    deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(place=st.floats(0, 1, exclude_max=True), bits=st.integers(1, 255))
def test_no_damaged_byte_gets_through(root, own_cache, place, bits):
    whole = data.load(*MACHINE, root)
    (file,) = files(own_cache)
    content = bytearray(file.read_bytes())
    content[int(place * len(content))] ^= bits
    file.write_bytes(content)
    assert same(whole, data.load(*MACHINE, root))


def test_the_checksum_sees_any_byte_and_blocks_that_change_places():
    rows = np.random.default_rng(0).normal(size=(3000, 11))  # several rows of the fold, and a rest
    right = kept._checksum("text", {"train": rows})
    assert kept._checksum("text", {"train": rows.copy()}) == right
    assert kept._checksum("next", {"train": rows}) != right
    assert kept._checksum("text", {"test": rows}) != right
    for place in (0, 8 * kept.FOLD, rows.nbytes // 2, rows.nbytes - 1):
        other = rows.copy()
        other.reshape(-1).view(np.uint8)[place] ^= 1
        assert kept._checksum("text", {"train": other}) != right, place
    other = rows.copy()
    blocks = other.reshape(-1).view(np.uint8)[: 40 * 4096].reshape(-1, 4096)
    blocks[[3, 19]] = blocks[[19, 3]]
    assert kept._checksum("text", {"train": other}) != right


@pytest.mark.parametrize("place", ["file", "under a file", "null"])
def test_a_folder_that_cannot_be_written_costs_speed_only(
    root, tmp_path, reads, monkeypatch, place
):
    (tmp_path / "file").write_text("in the way")
    folders = {"file": tmp_path / "file", "under a file": tmp_path / "file" / "x"}
    monkeypatch.setenv("LMMOE_CACHE", str(folders.get(place, "/dev/null")))
    first, second = (data.load(*MACHINE, root) for _ in range(2))
    assert same(first, second) and len(reads) == 2


def test_a_full_disk_costs_speed_only(root, own_cache, reads, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.numpy.save_file", full)
    first, second = (data.load(*MACHINE, root) for _ in range(2))
    assert same(first, second) and len(reads) == 2 and not files(own_cache)


def test_several_processes_at_once(root, own_cache, tmp_path):
    write(tmp_path / "read.py", READ)
    words = [sys.executable, str(tmp_path / "read.py"), str(root)]
    running = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = [one.communicate(timeout=120)[0] for one in running]
    assert [one.returncode for one in running] == [0, 0, 0]
    assert set(said) == {f"{data.load(*MACHINE, root).id}\n"}
    (file,) = files(own_cache)
    assert file.suffix == ".safetensors" and not file.name.startswith(".")


READ = """
import sys
from lmmoe import data
from lmmoe.data import kept
kept.WORTH, kept.SETTLED = 1, -1e9
ids = set()
for turn in range(40):
    for file in (kept.paths.cache() / "data").glob("*.safetensors"):
        if turn % 3 == 0:
            file.unlink(missing_ok=True)
    ids.add(data.load("smd", "machine-1-2", sys.argv[1]).id)
print(*ids)
"""
