import gzip
import lzma
import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mirror import git_id
from tree import BASE, BLOBS, TREE, fill, make_server

from lmmoe import inventory
from lmmoe.errors import DataError
from lmmoe.inventory import CHUNK, Audit, Holding, audit_smd, blob_id, holding, published_blobs


@pytest.fixture
def listed(monkeypatch):
    """The made-up files stand for the published ones."""
    monkeypatch.setattr("lmmoe.inventory.published_blobs", lambda: BLOBS)


# --- ids ---


def test_the_id_of_nothing_is_the_known_one(tmp_path):
    (tmp_path / "empty").touch()
    assert blob_id(tmp_path / "empty") == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"


def test_a_known_id(tmp_path):
    # The example of the book Pro Git, section "Git Objects".
    (tmp_path / "test").write_bytes(b"test content\n")
    assert blob_id(tmp_path / "test") == "d670460b4b4aece5915caf5c68d12f560a9fe3e4"


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
@pytest.mark.parametrize("size", [1, CHUNK - 1, CHUNK, CHUNK + 1])
def test_the_id_is_git_s(tmp_path, size):
    file = tmp_path / "file"
    file.write_bytes(random.Random(size).randbytes(size))
    command = ["git", "hash-object", "--no-filters", str(file)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert blob_id(file) == said.strip()


@settings(max_examples=30, deadline=None)
@given(content=st.binary(max_size=500))
def test_compression_does_not_change_the_id(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("ids")
    (folder / "a.txt").write_bytes(content)
    (folder / "a.txt.xz").write_bytes(lzma.compress(content))
    (folder / "a.txt.gz").write_bytes(gzip.compress(content))
    assert {blob_id(file) for file in folder.iterdir()} == {git_id(content)}


def test_the_published_list():
    blobs = published_blobs()
    assert len(blobs) == 1 + 4 * 28
    assert blobs[f"{BASE}/LICENSE"] == "a35f9e98caf3d5d6d6164ef9a303ec4216780c01"
    assert len({path.split("/")[-1] for path in blobs if path.endswith(".txt")}) == 28
    assert all(len(blob) == 40 and int(blob, 16) for blob in blobs.values())


# --- what is there ---


def test_a_complete_smd_is_right(listed, tmp_path):
    fill(tmp_path)
    found = holding("smd", tmp_path)
    assert found.entities == ["machine-1-1", "machine-1-2"]
    assert found.size == sum(len(content) for path, content in TREE.items() if "machine" in path)
    assert found.remarks == ("9 files right, 0 wrong, 0 missing", "2 of 2 machines complete")
    assert found.wrong == ()


def test_a_damaged_archive_is_wrong_not_a_crash(listed, tmp_path):
    fill(tmp_path)
    plain = tmp_path / "SMD" / BASE / "test" / "machine-1-2.txt"
    plain.rename(plain.with_name(plain.name + ".xz"))
    (problem,) = holding("smd", tmp_path).wrong
    assert problem.startswith(f"{plain}.xz: cannot be read, truncated or damaged")


def test_a_download_that_was_only_begun_is_not_there(listed, tmp_path):
    fill(tmp_path, {f"{BASE}/train/machine-1-1.txt.part": b"tra"})
    assert holding("smd", tmp_path).empty


def test_the_audit_tells_its_progress(tmp_path):
    calls = []
    audit = audit_smd(tmp_path, blobs=BLOBS, progress=lambda *call: calls.append(call))
    assert audit.missing == list(BLOBS)
    assert calls == [*((i, 9, path) for i, path in enumerate(BLOBS)), (9, 9, "")]


def test_a_licence_alone_makes_no_machine():
    audit = Audit(right=[f"{BASE}/LICENSE"], missing=[f"{BASE}/train/machine-1-1.txt"])
    assert audit.summary() == ["1 files right, 0 wrong, 1 missing", "0 of 1 machines complete"]


def test_a_damaged_array_leaves_the_rows_unknown(tmp_path):
    make_server(tmp_path, "omi-1")
    (make_server(tmp_path, "omi-2") / "train.npy").write_bytes(b"\x93NUMPY damaged")
    found = holding("asd", tmp_path)
    assert (found.entities, found.rows, found.channels) == (["omi-1", "omi-2"], 0, frozenset())


def test_an_entity_list_that_cannot_be_read_is_told_not_raised(monkeypatch, tmp_path):
    def fail(name, root):
        raise DataError("bad list", file="labels.csv")

    monkeypatch.setattr(inventory.data, "entities", fail)
    found = holding("smap", tmp_path)
    assert found.wrong == ("labels.csv: bad list",)
    assert found.lines() == ["smap       0 entities", "           wrong: labels.csv: bad list"]


def test_generated_data_need_no_disk(tmp_path):
    found = holding("synthetic", tmp_path)
    assert found.size == 0
    assert len(found.entities) > 0
    assert not Holding("synthetic", found.entities).empty


def test_the_real_data_are_right():
    root = Path(os.environ.get("LMMOE_DATA") or "/nonexistent")
    if not (root / "SMD" / BASE / "train").is_dir():
        pytest.skip("needs SMD")
    found = holding("smd", root)
    assert found.wrong == ()
    here = len(found.entities)
    assert found.remarks[1] == f"{here} of 28 machines complete"
    assert f"{4 * here + 1} files right, 0 wrong, {4 * (28 - here)} missing" == found.remarks[0]
