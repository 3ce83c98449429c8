"""Series kept in a binary form: the same as read anew, and never older than their source."""

import os
import shutil
from dataclasses import fields
from importlib import import_module

import numpy as np
import pytest
from made_up import SMD, TRAIN, fails, load_own, write

from lmmoe import data
from lmmoe.data import Cause, Series, own, smd

MACHINE = ("smd", "machine-1-2")
CSV = "time,cpu,net,label\n" + "".join(
    f"2024-01-01 00:0{i}:00,{i},{'' if i == 4 else i * i},{int(i in (2, 5, 6))}\n" for i in range(8)
)


@pytest.fixture(autouse=True)
def reads(monkeypatch):
    """Let everything be kept; which reader is asked, each time one is."""
    monkeypatch.setattr(data, "WORTH", 1)
    monkeypatch.setattr(data, "SETTLED", -1e9)  # a file server's clock may run ahead
    monkeypatch.setattr(data, "check_options", lambda *_: None)
    calls = []
    for name in ("smd", "folders", "telemanom", "own"):
        module = import_module(f"lmmoe.data.{name}")

        def read(*given, inner=module.read, name=name, **options):
            calls.append(name)
            return inner(*given, **options)

        monkeypatch.setattr(module, "read", read)
    return calls


def same(one, other):
    for field in fields(Series):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if isinstance(a, np.ndarray):
            assert a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
            assert a.flags.c_contiguous and b.flags.c_contiguous
            assert not a.flags.writeable and not b.flags.writeable
        else:
            assert repr(a) == repr(b), field.name  # repr tells 1440 from 1440.0
    return True


def copies(cache):
    return sorted((cache / "data").glob("*")) if cache.exists() else []


def test_every_reader_gives_the_same_the_second_time(root, own_cache, reads, tmp_path):
    write(tmp_path / "own" / "pump.csv", CSV)
    write(tmp_path / "bare" / "pump.csv", "a,b\n1,2\n3,4\n")  # no labels, no times
    for name, entity, options in (
        (*MACHINE, {}),
        ("smd", "machine-1-10", {}),  # without causes
        ("smap", "P-2", {}),
        ("psm", "psm", {}),
        ("swat", "swat", {}),
        (str(tmp_path / "own"), "pump", {"missing": "fill"}),
        (str(tmp_path / "own"), "pump", {"missing": "fill", "train_share": 0.25}),
        (str(tmp_path / "bare"), "pump", {}),
    ):
        reads.clear()
        before = len(copies(own_cache))
        first, second = (data.load(name, entity, root, **options) for _ in range(2))
        assert same(first, second)
        assert (len(reads), len(copies(own_cache))) == (1, before + 1)
    for _ in range(2):
        data.load("asd", "omi-1", root)  # arrays are binary already
    assert (len(reads), len(copies(own_cache))) == (3, before + 1)


def test_folders_are_kept_apart(tmp_path):
    # One and the same files, once as an entity of a folder and once as a folder of their own.
    for half in ("train", "test"):
        write(tmp_path / "site" / "mill" / f"{half}.csv", "a,b\n1,2\n")
    for _ in range(2):
        assert load_own(tmp_path / "site", entity="mill").dataset == "site"
        assert load_own(tmp_path / "site" / "mill", entity="mill").dataset == "mill"


def written_over(path, other):
    path.write_bytes(other.read_bytes())
    shutil.copystat(other, path)


def moved_over(path, other):
    other.replace(path)


def copied_over(path, other):
    shutil.copy2(other, path)  # as cp -p


@pytest.mark.parametrize("how", [written_over, moved_over, copied_over])
def test_a_source_of_equal_size_and_time_is_noticed(root, how):
    before = data.load(*MACHINE, root)
    path = root / SMD / "train" / "machine-1-2.txt"
    state = path.stat()
    other = path.with_name("other")
    other.write_text(path.read_text().replace("3.0", "9.0"))
    os.utime(other, ns=(state.st_atime_ns, state.st_mtime_ns))
    how(path, other)
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (state.st_size, state.st_mtime_ns)
    after = data.load(*MACHINE, root)
    assert before.train[1, 0] == 3 and after.train[1, 0] == 9
    assert same(after, data.load(*MACHINE, root))


def test_each_file_counts_and_so_does_a_new_one(root, reads):
    assert data.load("smd", "machine-1-10", root).causes is None
    write(root / SMD / "interpretation_label" / "machine-1-10.txt", "0-1:2\n")
    assert data.load("smd", "machine-1-10", root).causes == (Cause(0, 1, (1,)),)
    for part in smd.PARTS.values():
        os.utime(root / SMD / part / "machine-1-10.txt")
        count = len(reads)
        for _ in range(2):
            data.load("smd", "machine-1-10", root)
        assert len(reads) == count + 1, part


def test_what_is_not_kept(root, own_cache, reads, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(data, "WORTH", 10_000)  # small texts are not worth a file
        data.load(*MACHINE, root)
    with monkeypatch.context() as patch:
        patch.setattr(data, "SETTLED", 60.0)
        for path in (root / SMD).rglob("*.txt"):
            os.utime(path, (0, 0))  # an old time stamp does not help
        data.load(*MACHINE, root)
    with monkeypatch.context() as patch:
        inner = smd.read

        def busy(*given, **options):
            write(root / SMD / "train" / "machine-1-2.txt", "5,6\n3,4\n1,2\n")
            return inner(*given, **options)

        patch.setattr(smd, "read", busy)  # it changes while it is read
        data.load(*MACHINE, root)
    write(root / SMD / "train" / "machine-1-2.txt", "1,2\n3,x\n")
    with fails("machine-1-2.txt, row 1", "'x' is not a number"):
        data.load(*MACHINE, root)
    assert not copies(own_cache) and len(reads) == 4
    write(root / SMD / "train" / "machine-1-2.txt", "1,2\n3,4\n5,6\n")
    assert data.load(*MACHINE, root).train.tolist() == TRAIN


def test_no_damaged_byte_gets_through(root, own_cache, reads):
    whole = data.load(*MACHINE, root)
    (file,) = copies(own_cache)
    content = file.read_bytes()
    damaged = [content[:-1], content[: len(content) // 2], b"", bytes(range(256)) * 9]
    for place in range(0, len(content), 7):
        for bits in (1, 2, 128):
            damaged.append(content[:place] + bytes([content[place] ^ bits]) + content[place + 1 :])
    for bad in damaged:
        file.write_bytes(bad)
        assert same(whole, data.load(*MACHINE, root))
    assert len(reads) > len(content) / 7  # most were noticed; the rest are in the zip's fill


def test_a_cache_that_cannot_be_written_costs_speed_only(root, tmp_path, reads, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    for place in (tmp_path / "file", tmp_path / "file" / "x", "/dev/null"):
        monkeypatch.setenv("LMMOE_CACHE", str(place))
        reads.clear()
        assert same(*(data.load(*MACHINE, root) for _ in range(2))) and len(reads) == 2


def test_other_code_reads_again(root, reads, tmp_path, monkeypatch):
    data.load(*MACHINE, root)
    shutil.copytree(os.path.dirname(own.__file__), tmp_path / "code")
    write(tmp_path / "code" / "smd.py", "changed")
    monkeypatch.setattr(data, "__file__", str(tmp_path / "code" / "__init__.py"))
    for _ in range(2):
        data.load(*MACHINE, root)
    assert len(reads) == 2
