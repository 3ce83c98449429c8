"""Series kept in a binary form: the same as read anew, and never older than their source."""

import os
import shutil
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
from keeping import MACHINE, files, same
from made_up import ENTITIES, SMD, TRAIN, fails, lines, load_own, make_root, write

from lmmoe import data
from lmmoe.data import Cause, Series, kept

REAL = Path(os.environ.get("LMMOE_DATA") or "none")
CSV = "time,cpu,net,label\n" + "".join(
    f"2024-01-01 00:0{i}:00,{i},{'' if i == 4 else i * i},{int(i in (2, 5, 6))}\n" for i in range(8)
)


pytestmark = pytest.mark.usefixtures("reads")


@pytest.mark.parametrize("name", sorted(ENTITIES))
def test_every_reader_gives_the_same_the_second_time(root, own_cache, reads, name):
    entity = ENTITIES[name][0]
    first, second = (data.load(name, entity, root) for _ in range(2))
    assert same(first, second)
    if name == "asd":  # arrays are binary already
        assert len(reads) == 2 and not files(own_cache)
    else:
        assert len(reads) == 1 and len(files(own_cache)) == 1


@pytest.mark.parametrize(
    "options", [{}, {"train_share": 0.25}, {"label": "cpu", "time": "time"}], ids=str
)
def test_own_folders_keep_times_notes_and_gaps(tmp_path, reads, options):
    bits = CSV.replace(",7,49,", ",1,49,") if "label" in options else CSV
    if "label" in options:
        bits = "time,cpu,net\n" + "".join(f"2024-01-0{i + 1},{i % 2},{i}\n" for i in range(8))
    write(tmp_path / "own" / "pump.csv", bits)
    first, second = (load_own(tmp_path / "own", missing="fill", **options) for _ in range(2))
    assert same(first, second) and len(reads) == 1
    assert first.rows_per_day in (1440.0, 1.0) and first.labels is not None
    assert any("missing cells filled" in note for note in first.notes) == (bits == CSV)


def test_without_labels_there_are_none_the_second_time_either(tmp_path, reads):
    write(tmp_path / "own" / "pump.csv", "a,b\n1,2\n3,4\n5,6\n7,8\n")
    first, second = (load_own(tmp_path / "own") for _ in range(2))
    assert same(first, second) and second.labels is None and len(reads) == 1


def test_options_entities_and_folders_are_kept_apart(tmp_path, reads):
    write(tmp_path / "own" / "pump.csv", CSV.replace(",,", ",16,"))
    write(tmp_path / "own" / "fan.csv", CSV.replace(",,", ",17,"))
    for _ in range(2):
        half, quarter = (load_own(tmp_path / "own", train_share=share) for share in (0.5, 0.25))
        assert (len(half.train), len(quarter.train)) == (4, 2)
        assert load_own(tmp_path / "own", entity="fan").test[0, 1] == 17
    assert len(reads) == 3
    # One and the same files, once as an entity of a folder and once as a folder of their own.
    for half in ("train", "test"):
        write(tmp_path / "site" / "mill" / f"{half}.csv", "a,b\n1,2\n")
    for _ in range(2):
        assert load_own(tmp_path / "site", entity="mill").dataset == "site"
        assert load_own(tmp_path / "site" / "mill", entity="mill").dataset == "mill"


def test_a_relative_root_is_the_same_place(root, reads, monkeypatch):
    data.load(*MACHINE, root)
    monkeypatch.chdir(root)
    data.load(*MACHINE, ".")
    assert len(reads) == 1
    make_root(root / "other")
    monkeypatch.chdir(root / "other")
    data.load(*MACHINE, ".")
    assert len(reads) == 2


def changed(path, text):
    """Write other content of the same size under the old time stamps."""
    stat = path.stat()
    assert len(text) == stat.st_size
    return text, (stat.st_atime_ns, stat.st_mtime_ns)


def written_over(path, text):
    text, times = changed(path, text)
    path.write_text(text)
    os.utime(path, ns=times)


def moved_over(path, text):
    text, times = changed(path, text)
    other = path.with_name("other")
    other.write_text(text)
    os.utime(other, ns=times)
    other.replace(path)


def copied_over(path, text):
    text, times = changed(path, text)
    other = path.with_name("other")
    other.write_text(text)
    os.utime(other, ns=times)
    shutil.copy2(other, path)  # as cp -p
    other.unlink()


@pytest.mark.parametrize("how", [written_over, moved_over, copied_over])
def test_a_source_of_equal_size_and_time_is_noticed(root, how):
    before = data.load(*MACHINE, root)
    path = root / SMD / "train" / "machine-1-2.txt"
    times = path.stat().st_size, path.stat().st_mtime_ns
    how(path, path.read_text().replace("3.0", "9.0"))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == times
    after = data.load(*MACHINE, root)
    assert before.train[1, 0] == 3 and after.train[1, 0] == 9
    assert same(after, data.load(*MACHINE, root))


def test_each_file_counts_and_so_does_a_new_one(root, reads):
    assert data.load("smd", "machine-1-10", root).causes is None
    write(root / SMD / "interpretation_label" / "machine-1-10.txt", "0-1:2\n")
    assert data.load("smd", "machine-1-10", root).causes == (Cause(0, 1, (1,)),)
    for part in ("train", "test", "test_label", "interpretation_label"):
        os.utime(root / SMD / part / "machine-1-10.txt")
        count = len(reads)
        for _ in range(2):
            data.load("smd", "machine-1-10", root)
        assert len(reads) == count + 1, part


def test_what_has_just_changed_is_read_but_not_kept(root, own_cache, reads, monkeypatch):
    monkeypatch.setattr(kept, "SETTLED", 60.0)
    for path in (root / SMD).rglob("*.txt"):
        os.utime(path, (0, 0))  # an old time stamp does not help
    for _ in range(2):
        data.load(*MACHINE, root)
    assert len(reads) == 2 and not files(own_cache)


def test_what_changes_while_it_is_read_is_not_kept(root, own_cache, monkeypatch):
    module = import_module("lmmoe.data.smd")
    inner = module.read_causes

    def busy(path, shape):
        write(root / SMD / "train" / "machine-1-2.txt", lines(TRAIN[::-1]))
        return inner(path, shape)

    monkeypatch.setattr(module, "read_causes", busy)
    assert data.load(*MACHINE, root).train.tolist() == TRAIN
    assert not files(own_cache)
    assert data.load(*MACHINE, root).train.tolist() == TRAIN[::-1]


def test_other_readers_read_again(root, reads, monkeypatch):
    data.load(*MACHINE, root)
    monkeypatch.setattr(kept, "_code", lambda: "changed")
    data.load(*MACHINE, root)
    data.load(*MACHINE, root)
    assert len(reads) == 2


def test_small_texts_are_not_worth_a_file(root, own_cache, reads, monkeypatch):
    monkeypatch.setattr(kept, "WORTH", 10_000)
    for _ in range(2):
        data.load(*MACHINE, root)
    assert len(reads) == 2 and not files(own_cache)


def test_an_error_is_not_kept(root):
    path = root / SMD / "train" / "machine-1-2.txt"
    good = path.read_text()
    for _ in range(2):
        path.write_text(good.replace("3.0", "x.0"))
        with fails("machine-1-2.txt, row 1", "'x.0' is not a number"):
            data.load(*MACHINE, root)
    path.write_text(good)
    assert data.load(*MACHINE, root).train.tolist() == TRAIN
    path.unlink()
    with fails("no entity 'machine-1-2'"):
        data.load(*MACHINE, root)


def test_every_field_of_a_series_survives(tmp_path):
    """A field that is added to `Series` must be thought of here."""
    made = Series.checked(
        dataset="d",
        entity='an "entity" \u2603',
        train=[[1.0, -0.0], [5e-324, 1e300]],
        test=[[1.0, 2.0]],
        labels=[1],
        channels=("a", "ü"),
        causes=(Cause(0, 1, (1,)),),
        rows_per_day=1440.5,
        notes=("mended",),
    )
    for one in (made, replace(made, causes=None), replace(made, causes=(), rows_per_day=None)):
        kept._save(one, tmp_path / "one.safetensors", {"files": []})
        assert same(one, kept._load(tmp_path / "one.safetensors", {"files": []}))
        assert kept._load(tmp_path / "one.safetensors", {"files": [1]}) is None


@pytest.mark.skipif(not (REAL / SMD).is_dir(), reason="LMMOE_DATA does not hold SMD")
def test_a_real_machine(reads, monkeypatch):
    monkeypatch.undo()
    machine = data.entities("smd")[0]
    anew = import_module("lmmoe.data.smd").read("smd", data.data_root(), machine)
    assert same(anew, data.load("smd", machine)) and same(anew, data.load("smd", machine))
