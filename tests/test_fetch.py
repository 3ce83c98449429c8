import gzip
import lzma
import os
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest
from mirror import (
    BASE,
    BIG,
    BLOBS,
    FILES,
    LICENCE,
    OTHER,
    SMALL,
    Mirror,
    content,
    cut,
    fetch,
    git_id,
    hang,
    hang_up,
    on_disk,
    place,
    put,
    status,
    zipped,
)

from lmmoe.fetch import COMMIT, PUBLISHED, FetchError, fetch_smd
from lmmoe.inventory import CHUNK, published_blobs

# --- what works ---


def test_everything_is_fetched_and_verified(mirror, tmp_path):
    calls = []
    done = fetch(mirror, tmp_path, progress=lambda *call: calls.append(call))
    assert on_disk(tmp_path) == FILES
    assert done.new == list(FILES)
    assert done.present == []
    assert done.size == sum(map(len, FILES.values()))
    assert mirror.asked == [(path, None) for path in FILES]
    assert {headers["Accept-Encoding"] for headers in mirror.headers} == {"identity"}
    assert calls[0] == (0, 4, f"0.0 MB {LICENCE}")
    assert calls[-1] == (4, 4, "0.3 MB")
    assert [call[0] for call in calls] == sorted(call[0] for call in calls)


@pytest.mark.parametrize("end", ["", "/"])
def test_a_mirror_may_lie_deeper_and_its_address_end_in_a_slash(tmp_path, end):
    with Mirror({f"a/copy/{path}": content for path, content in FILES.items()}) as mirror:
        fetch(mirror, tmp_path, base_url=f"{mirror.url}/a/copy{end}")
    assert mirror.asked == [(f"a/copy/{path}", None) for path in FILES]
    assert on_disk(tmp_path) == FILES


def test_what_is_there_is_not_asked_for_again(mirror, tmp_path):
    fetch(mirror, tmp_path)
    mirror.asked.clear()
    done = fetch(mirror, tmp_path)
    assert mirror.asked == []
    assert done.present == list(FILES)
    assert (done.new, done.size) == ([], 0)


@pytest.mark.parametrize(("suffix", "module"), [(".xz", lzma), (".gz", gzip)])
def test_a_compressed_file_counts_as_there(mirror, tmp_path, suffix, module):
    put(place(tmp_path, BIG + suffix), module.compress(FILES[BIG]))
    done = fetch(mirror, tmp_path)
    assert BIG not in [path for path, _ in mirror.asked]
    assert done.present == [BIG]
    assert not place(tmp_path, BIG).exists()


def test_one_machine_comes_with_the_licence(mirror, tmp_path):
    fetch(mirror, tmp_path, entities=["machine-1-2"])
    assert on_disk(tmp_path) == {path: FILES[path] for path in (LICENCE, OTHER)}


def test_a_compressed_transfer_is_decompressed(mirror, tmp_path):
    mirror.plans[BIG] = [zipped]
    fetch(mirror, tmp_path)
    assert on_disk(tmp_path) == FILES


def test_the_published_address():
    assert COMMIT == "7fb0e0acf89ea49908896bcc9f9e80fcfff6baf4"
    assert PUBLISHED.split("/")[2:] == [
        "raw.githubusercontent.com", "NetManAIOps", "OmniAnomaly", COMMIT
    ]  # fmt: skip


# --- failures that pass ---


@pytest.mark.parametrize(
    "mishap", [status(503), status(429, Retry_After=0), status(429, Retry_After="soon"), hang_up]
)
def test_a_passing_failure_is_tried_again(mirror, tmp_path, mishap):
    mirror.plans[SMALL] = [mishap, mishap]
    fetch(mirror, tmp_path)
    assert [path for path, _ in mirror.asked].count(SMALL) == 3
    assert on_disk(tmp_path) == FILES


def test_a_silent_server_is_given_up_and_asked_again(mirror, tmp_path):
    mirror.plans[BIG] = [hang(mirror.go_on, 2 * CHUNK)]
    fetch(mirror, tmp_path, timeout=(1, 0.3))
    assert on_disk(tmp_path) == FILES
    assert [range_ for path, range_ in mirror.asked if path == BIG] == [None, f"bytes={2 * CHUNK}-"]


def test_the_waits_double_and_the_server_may_ask_for_another(mirror, tmp_path, monkeypatch):
    waits = []
    # The module's own clock: a thread of another test that sleeps must not be counted.
    monkeypatch.setattr("lmmoe.fetch.time", SimpleNamespace(sleep=waits.append))
    mirror.plans[SMALL] = [status(500), status(500), status(429, Retry_After=7)]
    mirror.plans[SMALL] += [status(503, Retry_After=86_400)]
    fetch(mirror, tmp_path, wait=0.5, retries=4)
    assert waits == [0.5, 1.0, 7.0, 60.0]


# --- failures that stay ---


def test_a_missing_file_is_named_and_does_not_stop_the_others(mirror, tmp_path):
    del mirror.files[SMALL]
    with pytest.raises(FetchError) as caught:
        fetch(mirror, tmp_path)
    message = str(caught.value)
    assert message.startswith("1 of 4 files could not be fetched:\n")
    assert f"{mirror.url}/{SMALL}: the server says 404 Not Found" in message
    assert [path for path, _ in mirror.asked].count(SMALL) == 1  # no retries
    assert on_disk(tmp_path) == {path: FILES[path] for path in (LICENCE, BIG, OTHER)}


def test_all_failures_are_told_at_the_end(mirror, tmp_path):
    del mirror.files[LICENCE]
    mirror.plans[BIG] = [status(500)] * 3
    with pytest.raises(FetchError) as caught:
        fetch(mirror, tmp_path)
    message = str(caught.value)
    assert message.startswith("2 of 4 files")
    assert f"{mirror.url}/{LICENCE}: the server says 404" in message
    assert f"{mirror.url}/{BIG}: the server says 500" in message
    assert [path for path, _ in mirror.asked].count(BIG) == 3
    assert on_disk(tmp_path) == {path: FILES[path] for path in (SMALL, OTHER)}


def test_a_body_that_is_always_cut_is_an_error_and_keeps_the_part(mirror, tmp_path):
    mirror.plans[BIG] = [cut(CHUNK), hang_up, hang_up]
    with pytest.raises(FetchError, match=f"{BIG}: .*(aborted|closed)"):
        fetch(mirror, tmp_path)
    assert place(tmp_path, BIG + ".part").read_bytes() == FILES[BIG][:CHUNK]


def test_wrong_content_is_tried_once_more_and_not_kept(mirror, tmp_path):
    mirror.files[BIG] = b"<html>log in first</html>"
    with pytest.raises(FetchError) as caught:
        fetch(mirror, tmp_path)
    message = str(caught.value)
    assert f"{BIG}: the server's content has git blob id {git_id(mirror.files[BIG])}" in message
    assert f"expected {BLOBS[BIG]}" in message
    assert [path for path, _ in mirror.asked].count(BIG) == 2
    assert on_disk(tmp_path) == {path: FILES[path] for path in (LICENCE, SMALL, OTHER)}


def test_content_that_is_wrong_once_is_replaced(mirror, tmp_path):
    mirror.plans[BIG] = [content(b"an error page")]
    fetch(mirror, tmp_path)
    assert [range_ for path, range_ in mirror.asked if path == BIG] == [None, None]
    assert on_disk(tmp_path) == FILES


def test_a_wrong_file_is_replaced(mirror, tmp_path):
    put(place(tmp_path, SMALL), b"0.5,2\n")
    done = fetch(mirror, tmp_path)
    assert SMALL in done.new
    assert on_disk(tmp_path) == FILES


@pytest.mark.parametrize("left", [lzma.compress(b"other"), lzma.compress(FILES[BIG])[:-40], b""])
def test_a_wrong_or_damaged_compressed_file_is_replaced(mirror, tmp_path, left):
    put(place(tmp_path, BIG + ".xz"), left)
    fetch(mirror, tmp_path)
    assert on_disk(tmp_path) == FILES


def test_a_wrong_file_stays_until_there_is_a_right_one(mirror, tmp_path):
    put(place(tmp_path, SMALL), b"0.5,2\n")
    put(place(tmp_path, BIG + ".xz"), b"damaged")
    mirror.files[SMALL] = mirror.files[BIG] = b"also wrong"
    with pytest.raises(FetchError, match="^2 of 4 files"):
        fetch(mirror, tmp_path)
    assert place(tmp_path, SMALL).read_bytes() == b"0.5,2\n"
    assert place(tmp_path, BIG + ".xz").read_bytes() == b"damaged"
    assert not list(tmp_path.rglob("*.part"))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_without_a_network_the_folder_to_fill_is_named(tmp_path):
    notes = []
    with pytest.raises(FetchError) as caught:
        fetch_smd(
            tmp_path,
            base_url=f"http://127.0.0.1:{free_port()}",
            blobs=BLOBS,
            wait=0,
            progress=lambda *call: notes.append(call),
        )
    message = str(caught.value)
    assert "cannot be reached" in message
    assert "refused" in message
    assert str(tmp_path / "SMD" / BASE) in message
    for expected in ("train, test, test_label, interpretation_label", "machine-G-N.txt", ".xz"):
        assert expected in message
    assert "LMMOE_DATA" in message
    assert len(notes) == 1  # the other files are not tried
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("address", ["no-scheme/here", "ftp://127.0.0.1/x", "http://", ""])
def test_an_address_that_is_none_is_an_error_at_once(tmp_path, address, monkeypatch):
    never = SimpleNamespace(sleep=lambda seconds: pytest.fail("waited"))
    monkeypatch.setattr("lmmoe.fetch.time", never)
    with pytest.raises(FetchError, match="cannot be reached"):
        fetch_smd(tmp_path, base_url=address, blobs=BLOBS)


def test_an_unknown_machine_is_named_with_those_known(mirror, tmp_path):
    with pytest.raises(FetchError, match="no machine machine-9-9. Known: machine-1-1, machine-1-2"):
        fetch(mirror, tmp_path, entities=["machine-1-1", "machine-9-9"])
    assert mirror.asked == []


def test_a_folder_that_cannot_be_written_is_named(mirror, tmp_path):
    (tmp_path / "SMD").write_text("a file where a folder should be")
    with pytest.raises(FetchError, match="LICENSE: cannot be had .*--root, LMMOE_DATA"):
        fetch(mirror, tmp_path)
    assert len(mirror.asked) <= 1


# --- the real files ---


def test_the_published_list_describes_the_real_files(tmp_path):
    root = Path(os.environ.get("LMMOE_DATA", ""), "SMD")
    real = [root / f"{BASE}/{part}/machine-1-1.txt.xz" for part in ("test_label", "train")]
    if not (os.environ.get("LMMOE_DATA") and all(file.is_file() for file in real)):
        pytest.skip("needs SMD")
    published = {path: blob for path, blob in published_blobs().items() if "machine-1-1." in path}
    contents = {
        f"{BASE}/{file.parent.name}/machine-1-1.txt": lzma.decompress(file.read_bytes())
        for file in real
    }
    with Mirror(contents) as mirror:
        blobs = {path: published[path] for path in contents}
        fetch_smd(tmp_path, base_url=mirror.url, blobs=blobs)
    assert on_disk(tmp_path) == contents
