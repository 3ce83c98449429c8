"""Where things lie, and files that are whole or not there."""

import os

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
    dead, living, other = (  # what a killed process left is removed
        path.with_name(f".{stem}.{pid}.csv")
        for stem, pid in (("table[1]", 2**22 + 1), ("table[1]", os.getppid()), ("b", 2**22 + 1))
    )
    for left in (dead, living, other):
        left.write_text("half")
    with paths.replacing(path) as part:
        part.write_text("whole")
    assert sorted(path.parent.iterdir()) == sorted([path, living, other])


def test_home_is_the_nearest_folder_with_a_snakefile(tmp_path, monkeypatch):
    inner = tmp_path / "project" / "notebooks"
    inner.mkdir(parents=True)
    (tmp_path / "project" / "lmmoe").mkdir()
    (tmp_path / "project" / "Snakefile").touch()
    monkeypatch.chdir(inner)
    assert paths.home() == tmp_path / "project"
    assert paths.results("p") == tmp_path / "project" / "results" / "p"
    assert paths.figures("p") == tmp_path / "project" / "figures" / "p"
    monkeypatch.delenv("LMMOE_CACHE")
    assert paths.cache() == tmp_path / "project" / "results" / "cache"
    monkeypatch.chdir(tmp_path)
    assert (paths.home() / "lmmoe" / "paths.py").is_file()
