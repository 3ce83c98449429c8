"""Where things lie, and files that are whole or not there."""

import os
import re

import pytest

from lmmoe import paths


def test_replacing_shows_the_file_only_when_it_is_whole(tmp_path):
    path = tmp_path / "new" / "table[1].csv"
    with paths.replacing(path) as part:
        assert part.suffix == ".csv" and part.parent == path.parent
        part.write_text("1")
        assert not path.exists()
    with pytest.raises(KeyboardInterrupt), paths.replacing(path) as part:
        part.write_text("2")
        raise KeyboardInterrupt
    with pytest.raises(FileNotFoundError), paths.replacing(path):
        pass  # nothing was written
    assert path.read_text() == "1"
    assert list(path.parent.iterdir()) == [path]
    # What a killed process left is removed; not what may still be written, nor other files.
    names = (".table[1].{0}.csv", ".table[1].{0}.csv", ".b.{0}.csv", ".table[1].old.csv")
    left = [path.with_name(name.format(f"{n:016x}")) for n, name in enumerate(names)]
    for number, file in enumerate(left):
        file.write_text("half")
        if number:
            os.utime(file, (1e9, 1e9))
    with paths.replacing(path) as part:
        part.write_text("whole")
    assert sorted(path.parent.iterdir()) == sorted([path, left[0], *left[2:]])


def test_a_file_has_the_permissions_of_any_new_one(tmp_path):
    before = os.umask(0o027)
    try:
        with paths.replacing(tmp_path / "model") as part:
            part.touch(0o600)  # as safetensors does
    finally:
        os.umask(before)
    assert (tmp_path / "model").stat().st_mode & 0o777 == 0o640


def test_a_plain_name_has_no_sign_that_means_something():
    names = ["machine-1-1", "web_1.b", *"a b|a_b|-a|_a|.a|c{1}|c='1'|ü".split("|"), "a" * 250]
    found = list(map(paths.plain, names))
    assert found[:2] == names[:2] and len(set(found)) == len(names)
    assert all(re.fullmatch(r"\w[\w.-]{,110}", name, re.ASCII) for name in found)


def test_home_is_the_nearest_folder_with_a_snakefile(tmp_path, monkeypatch):
    inner = tmp_path / "project" / "notebooks"
    inner.mkdir(parents=True)
    (tmp_path / "project" / "lmmoe").mkdir()
    (tmp_path / "project" / "Snakefile").touch()
    monkeypatch.chdir(inner)
    assert paths.home() == tmp_path / "project"
    assert paths.results("p") == tmp_path / "project" / "results" / "p"
    assert paths.figures("p") == tmp_path / "project" / "figures" / "p"
    for given, expected in (
        ("", tmp_path / "project" / "results" / "cache"),
        ("other", tmp_path / "project" / "other"),
        ("~/mine", tmp_path / "mine"),
    ):
        monkeypatch.setenv("LMMOE_CACHE", given)
        monkeypatch.setenv("HOME", str(tmp_path))
        assert paths.cache() == expected
    monkeypatch.chdir(tmp_path)
    assert (paths.home() / "lmmoe" / "paths.py").is_file()
    # Installed without its repository.
    monkeypatch.setattr(paths, "home", lambda: tmp_path / "site-packages")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "users"))
    monkeypatch.delenv("LMMOE_CACHE")
    assert paths.cache().is_relative_to(tmp_path) and "site-packages" not in str(paths.cache())
