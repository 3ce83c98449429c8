import hashlib
import re
from base64 import b64encode
from importlib import resources
from urllib.parse import urlparse

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nbformat.v4 import new_markdown_cell
from pages import Tree, four_parts, four_sections, inside, make, write

from lmmoe.errors import DataError
from lmmoe.report import page
from lmmoe.report.page import Section, build


@pytest.fixture
def sections(tmp_path):
    return four_sections(tmp_path)


@pytest.fixture
def tree(tmp_path):
    return four_parts(tmp_path)


# --- the page as a whole ---


def test_one_file_is_written_and_its_path_returned(sections, tmp_path):
    out = tmp_path / "new" / "page.html"
    assert build(sections, out, title="Report") == out
    assert [file.name for file in out.parent.iterdir()] == ["page.html"]


def test_two_builds_give_the_same_bytes_whatever_the_folder(sections, tmp_path, monkeypatch):
    first = build(sections, tmp_path / "a.html", title="Report").read_bytes()
    # A folder of the name of nbconvert's own templates must not be taken for them.
    trap = tmp_path / "base"
    trap.mkdir()
    for name in ("conf.json", "null.j2", "display_priority.j2", "cells.html.j2"):
        (trap / name).write_text("POISON")
    monkeypatch.chdir(tmp_path)
    assert build(sections, tmp_path / "b.html", title="Report").read_bytes() == first
    assert b"\r" not in first
    assert first.endswith(b"</html>\n")


def test_nothing_comes_from_outside_and_no_path_of_the_machine_goes_in(tree, tmp_path):
    assert not tree.find("link")
    assert {urlparse(image["attrs"]["src"]).scheme for image in tree.find("img")} == {"data"}
    assert all("src" not in script["attrs"] for script in tree.find("script"))
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "http://" not in html
    assert "https://" not in html
    assert "url(" not in html
    assert str(tmp_path) not in html


def test_the_policy_allows_the_pages_own_script_and_no_other(tree):
    (policy,) = (
        meta["attrs"]["content"]
        for meta in tree.find("meta")
        if meta["attrs"].get("http-equiv") == "Content-Security-Policy"
    )
    script = tree.one("script")["text"]
    digest = b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "img-src data:;" in policy


def test_language_viewport_and_title(tree):
    assert tree.one("html")["attrs"]["lang"] == "en"
    assert tree.one("meta", name="viewport")["attrs"]["content"].startswith("width=device-width")
    assert tree.one("title")["text"] == "Report"
    assert tree.one("h1")["text"] == "Report"
    assert tree.one("button", id="theme")["attrs"]["type"] == "button"


def test_strings_are_escaped(tmp_path):
    bad = "<script>x</script> & \"'"
    section = Section(bad, write(tmp_path / "n.ipynb"), group=bad)
    out = build([section], tmp_path / "p.html", title=bad, subtitle=bad, facts={bad: bad})
    tree = Tree(out.read_text(encoding="utf-8"))
    assert len(tree.find("script")) == 1
    assert tree.one("title")["text"] == bad
    assert tree.one("h1")["text"] == bad
    assert tree.one("p", class_="subtitle")["text"] == bad
    assert tree.one("dt")["text"] == tree.one("dd")["text"] == bad
    assert tree.one("h2")["text"] == tree.one("h3")["text"] == bad + " #"


def test_without_facts_and_subtitle_there_is_no_room_for_them(tmp_path):
    tree = Tree(make(tmp_path))
    assert not tree.find("dl")
    assert not tree.find("p", class_="subtitle")


def test_a_page_of_no_sections(tmp_path):
    tree = Tree(build([], tmp_path / "p.html", title="Empty").read_text(encoding="utf-8"))
    assert tree.one("main")["text"].strip() == ""


# --- contents, headings, ids, links ---


def test_ids_are_unique_and_every_inner_link_has_its_target(tree):
    ids = [element["attrs"]["id"] for element in tree.all if "id" in element["attrs"]]
    assert len(ids) == len(set(ids))
    links = [link["attrs"]["href"] for link in tree.find("a") if inside(link, "nav")]
    assert links
    assert {link[:1] for link in links} == {"#"}
    everywhere = {link["attrs"]["href"] for link in tree.find("a")}
    assert {link[1:] for link in everywhere} <= set(ids)


def test_the_contents_name_sections_and_their_two_upper_levels(tree):
    links = [link for link in tree.find("a") if inside(link, "nav", class_="side")]
    assert [(link["text"], link["attrs"]["href"]) for link in links] == [
        ("Report", "#top"),
        ("Data", "#data"),
        ("Events", "#data-events"),
        ("Long ones", "#data-long-ones"),
        ("Scores", "#scores"),
        ("Events", "#scores-events"),
        ("Events", "#scores-events-2"),
        ("Every machine", "#every-machine"),
        ("machine-1-1", "#machine-1-1"),
        ("Events", "#machine-1-1-events"),
        ("Long ones", "#machine-1-1-long-ones"),
        ("machine-1-1", "#machine-1-1-2"),
        ("Events", "#machine-1-1-2-events"),
        ("Events", "#machine-1-1-2-events-2"),
    ]
    narrow = [link for link in tree.find("a") if inside(link, "details", class_="contents")]
    assert [link["text"] for link in narrow] == [link["text"] for link in links[1:]]


def test_a_title_stands_for_the_notebooks_own_and_levels_move_down(tree):
    (main,) = tree.find("main")
    headings = [
        (element["tag"], element["text"].removesuffix(" #"))
        for element in tree.all
        if re.fullmatch("h[1-6]", element["tag"]) and main in element["in"]
    ]
    assert headings[:7] == [
        ("h2", "Data"),
        ("h3", "Events"),
        ("h4", "Long ones"),
        ("h5", "Deep"),
        ("h2", "Scores"),
        ("h3", "Events"),
        ("h3", "Events"),
    ]
    assert headings[7:12] == [
        ("h2", "Every machine"),
        ("h3", "machine-1-1"),
        ("h4", "Events"),
        ("h5", "Long ones"),
        ("h6", "Deep"),
    ]


def test_a_heading_that_the_notebook_does_not_begin_with_stays(tmp_path):
    html = make(tmp_path, new_markdown_cell("## First\n\n# Late\n\n###### Low"))
    headings = {h: Tree(html).find(h) for h in ("h2", "h3", "h6")}
    assert [h["text"] for h in headings["h3"]] == ["First #", "Late #"]
    assert [h["text"] for h in headings["h6"]] == ["Low #"]
    assert [h["text"] for h in headings["h2"]] == ["Data #"]


def test_folded_sections_are_closed_and_under_one_heading(tree):
    parts = tree.find("details", class_="part")
    assert [part["attrs"]["id"] for part in parts] == ["machine-1-1", "machine-1-1-2"]
    assert all("open" not in part["attrs"] for part in parts)
    assert all(inside(part, "section", id="every-machine") for part in parts)
    assert len([h for h in tree.find("h2") if h["text"].startswith("Every machine")]) == 1
    assert [part["attrs"]["id"] for part in tree.find("section", class_="part")] == [
        "data",
        "scores",
    ]


def test_links_inside_and_between_notebooks_lead_to_the_page(tmp_path):
    first = write(
        tmp_path / "01-data.ipynb",
        new_markdown_cell(
            "# My data\n\n[a](#Long-ones) [b](02-scores.ipynb#The-%CE%BCean) [c](02-scores.ipynb) "
            "[d](#My-data) [e](https://example.org/02-scores.ipynb) [f](#nowhere) "
            "[g](02-scores.ipynb#gone)\n\n## Long ones"
        ),
    )
    second = write(
        tmp_path / "02-scores.ipynb", new_markdown_cell("## The μean\n\n[h](#Long-ones)")
    )
    sections = [Section("Data", first), Section("Scores", second)]
    tree = Tree(build(sections, tmp_path / "p.html", title="R").read_text(encoding="utf-8"))
    links = {link["text"]: link["attrs"]["href"] for link in tree.find("a")}
    assert {name: links[name] for name in "abcdefgh"} == {
        "a": "#data-long-ones",
        "b": "#scores-the-ean",
        "c": "#scores",
        "d": "#data",
        "e": "https://example.org/02-scores.ipynb",
        "f": "#nowhere",
        "g": "#scores",
        "h": "#Long-ones",  # that heading is in the other notebook
    }


def test_ids_in_a_notebook_stay_unless_taken(tmp_path):
    html = make(
        tmp_path,
        new_markdown_cell('<a id="top"></a><b id="mine">x</b><i id="data">y</i>\n\n[up](#top)'),
    )
    tree = Tree(html)
    assert tree.find("b", id="mine")
    assert tree.find("i", id="data-2")
    assert tree.find("a", id="top-2")
    assert [link["attrs"]["href"] for link in tree.find("a") if link["text"] == "up"] == ["#top-2"]


@given(st.lists(st.text(max_size=12), max_size=20))
def test_ids_are_unique_and_plain(texts):
    ids = page._Ids()
    given_out = [ids.new(text) for text in texts]
    assert len(set(given_out)) == len(texts)
    assert all(re.fullmatch("[a-z0-9]+(-[a-z0-9]+)*", name) for name in given_out)
    assert not {"top", "content", "theme"} & set(given_out)


# --- what is refused ---


def test_a_missing_notebook_is_named_and_the_old_page_stays(sections, tmp_path):
    out = tmp_path / "page.html"
    out.write_text("old")
    gone = tmp_path / "gone.ipynb"
    with pytest.raises(DataError) as error:
        build([*sections, Section("Gone", gone)], out, title="Report")
    assert str(error.value) == f"{gone}: no such notebook. Run it first"
    assert out.read_text() == "old"
    assert not list(tmp_path.glob(".page*"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "not appear to be JSON"),
        (b'{"nbformat": 4, "cells": [', "not appear to be JSON"),
        (b"\xff\xfe", "can't decode"),
        (b"[1]", "no attribute"),
        (b'{"nbformat": 9, "nbformat_minor": 0, "metadata": {}, "cells": []}', "version 9"),
        (b'{"nbformat": 4, "nbformat_minor": 5}', "missing an expected key: cells"),
        (b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": null}', "not iterable"),
    ],
)
def test_a_damaged_notebook_is_named(tmp_path, text, reason):
    bad = tmp_path / "bad.ipynb"
    bad.write_bytes(text)
    with pytest.raises(DataError, match=f"{re.escape(str(bad))}: not a whole notebook") as error:
        build([Section("Bad", bad)], tmp_path / "page.html", title="Report")
    assert reason in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "page.html").exists()


# --- the style ---


def luminance(colour):
    """Relative luminance of ``#rrggbb``: WCAG 2.2, the definition of that name."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", [0, 1])
@pytest.mark.parametrize("ground", ["paper", "tint"])
@pytest.mark.parametrize("ink", ["text", "quiet", "accent", "bad"])
def test_text_stands_out_from_its_ground(theme, ground, ink):
    style = (resources.files("lmmoe.report") / "template" / "page.css").read_text(encoding="utf-8")
    pairs = re.findall(r"--(\w+): light-dark\((#\w{6}), (#\w{6})\)", style)
    colours = {name: pair[theme] for name, *pair in pairs}
    bright, dim = sorted((luminance(colours[ink]), luminance(colours[ground])), reverse=True)
    assert (bright + 0.05) / (dim + 0.05) >= 4.5  # WCAG 2.2, success criterion 1.4.3
