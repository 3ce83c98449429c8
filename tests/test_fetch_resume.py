"""Downloads that were cut short, interrupted or killed."""

import subprocess
import sys
import time

import pytest
from mirror import (
    BIG,
    BLOBS,
    FILES,
    LICENCE,
    OTHER,
    SMALL,
    cut,
    fetch,
    hang,
    on_disk,
    other_range,
    place,
    put,
    whole,
)

from lmmoe.fetch import FetchError
from lmmoe.inventory import CHUNK


def test_a_body_cut_short_is_continued_where_it_stopped(mirror, tmp_path):
    mirror.plans[BIG] = [cut(3 * CHUNK)]
    done = fetch(mirror, tmp_path)
    assert [range_ for path, range_ in mirror.asked if path == BIG] == [None, f"bytes={3 * CHUNK}-"]
    assert on_disk(tmp_path) == FILES
    assert done.size == sum(map(len, FILES.values()))  # nothing came twice


def test_the_next_run_continues_what_the_last_left(mirror, tmp_path):
    mirror.plans[BIG] = [cut(CHUNK)]
    with pytest.raises(FetchError):
        fetch(mirror, tmp_path, retries=0)
    assert place(tmp_path, BIG + ".part").read_bytes() == FILES[BIG][:CHUNK]
    assert not place(tmp_path, BIG).exists()
    mirror.asked.clear()
    done = fetch(mirror, tmp_path)
    assert mirror.asked == [(BIG, f"bytes={CHUNK}-")]
    assert done.present == [LICENCE, SMALL, OTHER]
    assert on_disk(tmp_path) == FILES


def test_a_server_that_ignores_range_starts_anew(mirror, tmp_path):
    put(place(tmp_path, BIG + ".part"), FILES[BIG][:1000])
    mirror.plans[BIG] = [whole]
    fetch(mirror, tmp_path)
    assert [range_ for path, range_ in mirror.asked if path == BIG] == ["bytes=1000-"]
    assert on_disk(tmp_path) == FILES


@pytest.mark.parametrize("left", [FILES[SMALL], FILES[SMALL] + b"too long"])
def test_a_part_as_long_as_the_file_or_longer_starts_anew(mirror, tmp_path, left):
    put(place(tmp_path, SMALL + ".part"), left)
    fetch(mirror, tmp_path)  # the server says 416
    asked = [range_ for path, range_ in mirror.asked if path == SMALL]
    assert asked == [f"bytes={len(left)}-", None]
    assert on_disk(tmp_path) == FILES


def test_another_range_than_asked_for_is_not_appended(mirror, tmp_path):
    put(place(tmp_path, BIG + ".part"), FILES[BIG][:1000])
    mirror.plans[BIG] = [other_range]
    done = fetch(mirror, tmp_path)
    assert done.size == sum(map(len, FILES.values()))  # the wrong range was not read
    assert [range_ for path, range_ in mirror.asked if path == BIG] == ["bytes=1000-", None]
    assert on_disk(tmp_path) == FILES


def test_a_bad_part_is_thrown_away_and_the_file_fetched_whole(mirror, tmp_path):
    put(place(tmp_path, BIG + ".part"), b"x" * 1000)
    fetch(mirror, tmp_path)
    assert [range_ for path, range_ in mirror.asked if path == BIG] == ["bytes=1000-", None]
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
        "import sys; from pathlib import Path; from lmmoe.fetch import fetch_smd\n"
        f"fetch_smd(Path(sys.argv[1]), base_url={mirror.url!r}, blobs={BLOBS!r})"
    )
    part = place(tmp_path, BIG + ".part")
    run = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
    try:
        patience = time.monotonic() + 30
        while not (part.exists() and part.stat().st_size == 3 * CHUNK):
            assert time.monotonic() < patience, "the part does not grow"
            assert run.poll() is None, "the run ended"
            time.sleep(0.02)
    finally:
        run.kill()
        run.wait()
    assert not place(tmp_path, BIG).exists()
    mirror.asked.clear()
    fetch(mirror, tmp_path)
    assert mirror.asked == [(BIG, f"bytes={3 * CHUNK}-"), (OTHER, None)]
    assert on_disk(tmp_path) == FILES
