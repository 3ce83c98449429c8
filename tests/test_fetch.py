"""Fetching SMD: verified, resumed, with errors that say what to do; and what lies on the disk."""

import gzip
import lzma
import os
import shutil
import socket
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
from mirror import (
    BASE,
    BIG,
    BLOBS,
    FILES,
    LICENCE,
    OTHER,
    SMALL,
    TREE,
    TREE_BLOBS,
    Mirror,
    content,
    cut,
    fetch,
    fill,
    git_id,
    hang,
    hang_up,
    on_disk,
    other_range,
    place,
    put,
    status,
    whole,
    zipped,
)

from lmmoe import data
from lmmoe.data import fetch as module
from lmmoe.data.fetch import CHUNK, FetchError, blob_id, fetch_smd, holding, published_blobs


def ranges_of(mirror, path):
    return [range_ for asked, range_ in mirror.asked if asked == path]


# --- what works ---


def test_everything_is_fetched_verified_and_not_asked_for_again(mirror, tmp_path):
    calls = []
    done = fetch(mirror, tmp_path, progress=lambda *call: calls.append(call))
    assert on_disk(tmp_path) == FILES
    assert (done.new, done.present) == (list(FILES), [])
    assert done.size == sum(map(len, FILES.values()))
    assert mirror.asked == [(path, None) for path in FILES]
    assert {headers["Accept-Encoding"] for headers in mirror.headers} == {"identity"}
    assert calls[0] == (0, 4, f"0.0 MB {LICENCE}") and calls[-1] == (4, 4, "0.3 MB")
    assert [call[0] for call in calls] == sorted(call[0] for call in calls)
    mirror.asked.clear()
    done = fetch(mirror, tmp_path)
    assert (mirror.asked, done.new, done.present, done.size) == ([], [], list(FILES), 0)


def test_a_mirror_may_lie_deeper_and_its_address_end_in_a_slash(tmp_path):
    with Mirror({f"a/copy/{path}": content for path, content in FILES.items()}) as mirror:
        fetch(mirror, tmp_path, base_url=f"{mirror.url}/a/copy/")
    assert on_disk(tmp_path) == FILES


def test_one_machine_comes_with_the_licence(mirror, tmp_path):
    fetch(mirror, tmp_path, entities=["machine-1-2"])
    assert on_disk(tmp_path) == {path: FILES[path] for path in (LICENCE, OTHER)}
    with pytest.raises(FetchError, match="no machine machine-9-9. Known: machine-1-1, machine-1-2"):
        fetch(mirror, tmp_path, entities=["machine-1-1", "machine-9-9"])


def test_compressed_files_and_transfers(mirror, tmp_path):
    put(place(tmp_path, SMALL + ".gz"), gzip.compress(FILES[SMALL]))
    put(place(tmp_path, OTHER + ".xz"), lzma.compress(FILES[OTHER]))
    mirror.plans[BIG] = [zipped]
    assert fetch(mirror, tmp_path).present == [SMALL, OTHER]
    assert not place(tmp_path, SMALL).exists()
    assert place(tmp_path, BIG).read_bytes() == FILES[BIG]


def test_wrong_files_are_replaced(mirror, tmp_path):
    put(place(tmp_path, SMALL), b"0.5,2\n")
    for left in (lzma.compress(b"other"), lzma.compress(FILES[BIG])[:-40], b""):
        put(place(tmp_path, BIG + ".xz"), left)
        place(tmp_path, BIG).unlink(missing_ok=True)
        assert BIG in fetch(mirror, tmp_path).new
        assert on_disk(tmp_path) == FILES


# --- failures that pass ---


def test_a_passing_failure_is_tried_again(mirror, tmp_path, monkeypatch):
    waits = []
    monkeypatch.setattr(module, "time", SimpleNamespace(sleep=waits.append))
    mirror.plans[SMALL] = [status(500), hang_up, status(429, Retry_After=7)]
    mirror.plans[SMALL] += [status(503, Retry_After=86_400), status(429, Retry_After="soon")]
    fetch(mirror, tmp_path, wait=0.5, retries=5)
    assert waits == [0.5, 1.0, 7.0, 60.0, 8.0]
    assert on_disk(tmp_path) == FILES


def test_a_silent_server_is_given_up_and_asked_again(mirror, tmp_path):
    mirror.plans[BIG] = [hang(mirror.go_on, 2 * CHUNK)]
    fetch(mirror, tmp_path, timeout=(1, 0.3))
    assert on_disk(tmp_path) == FILES
    assert ranges_of(mirror, BIG) == [None, f"bytes={2 * CHUNK}-"]


def test_a_body_cut_short_is_continued_where_it_stopped(mirror, tmp_path):
    mirror.plans[BIG] = [cut(3 * CHUNK)]
    done = fetch(mirror, tmp_path)
    assert ranges_of(mirror, BIG) == [None, f"bytes={3 * CHUNK}-"]
    assert on_disk(tmp_path) == FILES
    assert done.size == sum(map(len, FILES.values()))  # nothing came twice


def test_what_an_earlier_run_left_is_continued_or_thrown_away(mirror, tmp_path):
    start = FILES[BIG][:1000]
    cases = [
        (start, [], ["bytes=1000-"]),
        (start, [whole], ["bytes=1000-"]),  # the server ignores ranges: all is taken anew
        (start, [other_range], ["bytes=1000-", None]),
        (b"x" * 1000, [], ["bytes=1000-", None]),
        (FILES[BIG], [], ["bytes=300000-", None]),  # the server says 416
        (FILES[BIG] + b"too long", [], ["bytes=300008-", None]),
        (b"", [content(b"an error page")], [None, None]),
    ]
    for left, plan, asked in cases:
        place(tmp_path, BIG).unlink(missing_ok=True)
        put(place(tmp_path, BIG + ".part"), left)
        mirror.plans[BIG] = plan
        mirror.asked.clear()
        fetch(mirror, tmp_path)
        assert ranges_of(mirror, BIG) == asked
        assert on_disk(tmp_path) == FILES


def test_ctrl_c_leaves_a_part_that_the_next_run_continues(mirror, tmp_path):
    notes = []

    def interrupt(done, total, note):
        notes.append(note)
        if sum(BIG in note for note in notes) == 3:  # the start, one chunk, two chunks
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(mirror, tmp_path, progress=interrupt)
    assert place(tmp_path, BIG + ".part").read_bytes() == FILES[BIG][: 2 * CHUNK]
    mirror.asked.clear()
    fetch(mirror, tmp_path)
    assert mirror.asked == [(BIG, f"bytes={2 * CHUNK}-"), (OTHER, None)]
    assert on_disk(tmp_path) == FILES


def test_a_killed_run_is_continued(mirror, tmp_path):
    mirror.plans[BIG] = [hang(mirror.go_on, 3 * CHUNK)]
    code = (
        "import sys; from pathlib import Path; from lmmoe.data.fetch import fetch_smd\n"
        f"fetch_smd(Path(sys.argv[1]), base_url={mirror.url!r}, blobs={BLOBS!r})"
    )
    part = place(tmp_path, BIG + ".part")
    run = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
    try:
        while not (part.exists() and part.stat().st_size == 3 * CHUNK):
            assert run.poll() is None, "the run ended"
            time.sleep(0.02)
    finally:
        run.kill()
        run.wait()
    mirror.asked.clear()
    fetch(mirror, tmp_path)
    assert mirror.asked == [(BIG, f"bytes={3 * CHUNK}-"), (OTHER, None)]
    assert on_disk(tmp_path) == FILES


# --- failures that stay ---


def test_failures_are_told_at_the_end_and_do_not_stop_the_others(mirror, tmp_path):
    del mirror.files[LICENCE]
    mirror.plans[BIG] = [cut(CHUNK), status(500), status(500)]
    with pytest.raises(FetchError) as caught:
        fetch(mirror, tmp_path)
    message = str(caught.value)
    assert message.startswith("2 of 4 files could not be fetched:\n")
    assert f"{mirror.url}/{LICENCE}: the server says 404 Not Found" in message
    assert f"{mirror.url}/{BIG}: the server says 500" in message
    assert (len(ranges_of(mirror, LICENCE)), len(ranges_of(mirror, BIG))) == (1, 3)
    assert on_disk(tmp_path) == {
        **{path: FILES[path] for path in (SMALL, OTHER)},
        BIG + ".part": FILES[BIG][:CHUNK],
    }


def test_wrong_content_is_not_kept_and_what_was_there_stays(mirror, tmp_path):
    put(place(tmp_path, SMALL), b"0.5,2\n")
    mirror.files[SMALL] = mirror.files[BIG] = b"<html>log in first</html>"
    with pytest.raises(FetchError, match="^2 of 4 files") as caught:
        fetch(mirror, tmp_path)
    got = git_id(mirror.files[BIG])
    assert f"{BIG}: the server's content has git blob id {got}" in str(caught.value)
    assert f"expected {BLOBS[BIG]}" in str(caught.value)
    assert on_disk(tmp_path) == {LICENCE: FILES[LICENCE], OTHER: b"", SMALL: b"0.5,2\n"}


def test_without_a_network_the_folder_to_fill_is_named(tmp_path):
    with socket.socket() as nobody:  # bound, but nobody listens
        nobody.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        for address in (closed, "no-scheme/here", "ftp://127.0.0.1/x", ""):
            notes = []
            with pytest.raises(FetchError, match="cannot be reached") as caught:
                fetch_smd(
                    tmp_path,
                    base_url=address,
                    blobs=BLOBS,
                    wait=0,
                    progress=lambda *call: notes.append(call),  # noqa: B023
                )
            assert str(tmp_path / "SMD" / BASE) in str(caught.value)
            assert "LMMOE_DATA" in str(caught.value)
            assert len(notes) == 1  # the other files are not tried
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(mirror, tmp_path):
    (tmp_path / "SMD").write_text("a file where a folder should be")
    with pytest.raises(FetchError, match="LICENSE: cannot be had .*--root, LMMOE_DATA"):
        fetch(mirror, tmp_path)
    assert len(mirror.asked) <= 1


# --- git blob ids, and what is there ---


def test_blob_ids(tmp_path):
    file = tmp_path / "file"
    # Those of nothing, and of the example in the book Pro Git, section "Git Objects".
    for text, known in (
        (b"", "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"),
        (b"test content\n", "d670460b4b4aece5915caf5c68d12f560a9fe3e4"),
    ):
        file.write_bytes(text)
        assert blob_id(file) == known
    file.write_bytes(FILES[BIG])
    for suffix, opener in ((".xz", lzma), (".gz", gzip)):
        file.with_suffix(suffix).write_bytes(opener.compress(FILES[BIG]))
        assert blob_id(file.with_suffix(suffix)) == blob_id(file) == git_id(FILES[BIG])
    if shutil.which("git"):
        command = ["git", "hash-object", "--no-filters", str(file)]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert blob_id(file) == said.strip()


def test_the_published_list():
    blobs = published_blobs()
    assert len(blobs) == 1 + 4 * 28
    assert blobs[f"{BASE}/LICENSE"] == "a35f9e98caf3d5d6d6164ef9a303ec4216780c01"
    assert all(len(blob) == 40 and int(blob, 16) for blob in blobs.values())


def test_smd_is_held_against_the_published_list(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "published_blobs", lambda: TREE_BLOBS)
    fill(tmp_path, {f"{BASE}/train/machine-1-1.txt.part": b"tra"})
    assert holding("smd", tmp_path).empty  # a download that was only begun
    fill(tmp_path)
    found = holding("smd", tmp_path)
    assert (found.entities, found.wrong) == (["machine-1-1", "machine-1-2"], ())
    assert found.remarks == ("9 files right, 0 wrong, 0 missing", "2 of 2 machines complete")
    plain = place(tmp_path, f"{BASE}/test/machine-1-2.txt")
    plain.rename(plain.with_name(plain.name + ".xz"))  # no archive
    place(tmp_path, f"{BASE}/test_label/machine-1-1.txt").unlink()
    calls = []
    found = holding("smd", tmp_path, progress=lambda *call: calls.append(call))
    assert found.remarks == (
        "7 files right, 1 wrong, 1 missing",
        "0 of 2 machines complete",
        f"incomplete: {BASE}/test_label/machine-1-1.txt is missing",
    )
    (problem,) = found.wrong
    assert problem.startswith(f"{plain}.xz: cannot be read, truncated or damaged")
    assert calls == [*((i, 9, path) for i, path in enumerate(TREE)), (9, 9, "")]


def test_holdings_of_arrays(root):
    found = holding("asd", root)
    assert found.lines() == ["asd        2 entities, 0.0 MB on disk, 14 rows, 2 channels"]
    bad = root / "ASD" / "omi-2" / "test.npy"
    np.save(bad, [[1.0, np.nan]])
    assert holding("asd", root).wrong == ()  # a listing reads no values
    checked = holding("asd", root, check=True)
    assert checked.remarks == ("1 of 2 entities read without error",)
    assert checked.wrong[0].startswith(f"omi-2: {bad}, row 0, column 1: nan")
    bad.write_bytes(b"\x93NUMPY damaged")
    assert holding("asd", root).lines()[0].endswith("MB on disk")  # rows unknown
    (root / "telemanom" / "labeled_anomalies.csv").write_text("chan_id\n")
    assert "no such column" in holding("smap", root).wrong[0]
    assert len(holding("synthetic", root).entities) == 4


@pytest.mark.skipif(
    not os.environ.get("LMMOE_DATA") or not data.entities("smd"), reason="LMMOE_DATA has no SMD"
)
def test_the_real_files_are_those_published():
    found = holding("smd", data.data_root())
    here = len(found.entities)
    assert found.wrong == ()
    assert found.remarks[0] == f"{4 * here + 1} files right, 0 wrong, {4 * (28 - here)} missing"
