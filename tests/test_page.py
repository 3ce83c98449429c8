"""The report's page: one file that loads nothing, whatever the notebooks hold."""

import hashlib
import json
import re
from base64 import b64decode, b64encode

import nbformat
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from small import TwoSeries

from lmmoe.errors import DataError
from lmmoe.report import page

FACTS = {"runs": "12", "commit": "abc<b>", "created": "1 & 2"}
WIDGET = "application/vnd.jupyter.widget-view+json"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with a report of two entities, whose notebooks say nothing yet."""
    (tmp_path / "lmmoe").mkdir()
    (tmp_path / "Snakefile").touch()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "figures" / "pumps").mkdir(parents=True)
    (tmp_path / "figures" / "pumps" / "provenance.json").write_text(json.dumps(FACTS))
    (tmp_path / "figures" / "pumps" / "events.csv").touch()
    for name in page.SECTIONS:
        for entity in ("m1", "m2") if name == "02_training" else ("",):
            cells = [new_markdown_cell(f"*{entity}*")] if entity else []
            write(tmp_path / "results" / "pumps" / name / entity, *cells)
    return tmp_path


def write(path, *cells):
    path = path.with_name(f"{path.name}.ipynb")
    path.parent.mkdir(parents=True, exist_ok=True)
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    nbformat.write(new_notebook(cells=list(cells)), path)
    return path


def build(project, *cells):
    """The page, with these cells in the first notebook if there are any."""
    if cells:
        write(project / "results" / "pumps" / "01_data_exploration", *cells)
    out = project / "results" / "pumps" / "report.html"
    page.build(TwoSeries(profile="pumps", dataset="synthetic"), out)
    return BeautifulSoup(out.read_bytes(), "html.parser")


def code(source, *outputs, tags=()):
    return new_code_cell(source, outputs=list(outputs), metadata={"tags": list(tags)})


def shown(mime, data, metadata=None):
    return new_output("display_data", data={mime: data}, metadata={mime: metadata or {}})


def rich():
    """Cells with a bit of everything."""
    table = pd.DataFrame({"AP": [0.25, None], "what": ["a b", "2"]}, pd.Index([1, 2], name="m"))
    evil = "<p>kept</p><script>evil()</script><iframe src='https://x.org'></iframe><link href='y'>"
    red = ["\x1b[31mTraceback\x1b[0m", "ValueError: 3 < 4"]
    bar = new_output("display_data", data={WIDGET: {"model_id": "x"}, "text/plain": "0% of 9"})
    return (
        new_markdown_cell("# The notebook's own title\n\n## Events\n\n### Deep\n\n## Events"),
        code("rows: int = 5", tags=["parameters"]),
        code("rows = 9", tags=["injected-parameters"]),
        code("x = 1", new_output("stream", text="a < b\n"), bar),
        code("", new_output("stream", name="stderr", text="a quiet warning")),
        code('table(each, "events")', shown("text/html", table.to_html(notebook=True))),
        code("html", shown("text/html", evil + table[:0].to_html())),
        code("plot()", shown("image/png", "iVBORw==\n", {"width": 30, "alt": 'the "best"'})),
        code("draw()", shown("image/svg+xml", "<svg><script>evil()</script></svg>")),
        code("say()", shown("text/markdown", "**5** events")),
        code("no()", new_output("error", ename="ValueError", evalue="3 < 4", traceback=red)),
    )


def test_one_file_that_needs_nothing_and_has_the_same_bytes_again(project):
    tree = build(project, *rich())
    out = project / "results" / "pumps" / "report.html"
    text = out.read_text("utf-8")
    for name in ("null.j2", "display_priority.j2", "cells.html.j2"):  # no template is taken there
        (project / name).write_text("POISON")
    build(project)
    assert out.read_text("utf-8") == text and text.endswith("</html>\n")
    assert not re.search(r"https?://|url\(|\bsrc=\"(?!data:)", text) and str(project) not in text
    assert not list(out.parent.glob(".report*"))
    assert tree.html["lang"] == "en" and tree.title.text == f"{tree.h1.text}: pumps"
    [policy] = tree.select("meta[http-equiv=Content-Security-Policy]")
    digest = b64encode(hashlib.sha256(tree.script.text.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}';" in policy["content"]
    assert policy["content"].startswith("default-src 'none'; img-src data:;")


def test_ids_are_unique_and_the_contents_lead_to_sections_and_their_headings(project):
    tree = build(project, *rich())
    ids = [tag["id"] for tag in tree.select("[id]")]
    assert len(ids) == len(set(ids))
    assert {link["href"][1:] for link in tree.select("a[href^='#']")} <= {*ids}
    for contents in (".side", ".contents nav"):
        sections = tree.select(f"{contents} > ul > li")
        assert [one.a.text for one in sections] == [*page.SECTIONS.values()]
        links = sections[1].select("a")
        assert [link.text for link in links] == ["1. The data", "Events", "Events"]
        assert links[2]["href"] != links[1]["href"]
    # The section's title stands for the notebook's own, and the levels below move down.
    headings = tree.find(id=links[0]["href"][1:]).find_all(re.compile("h[1-6]"))
    assert [(tag.name, tag.text) for tag in headings] == [
        *(("h2", "1. The data"), ("h3", "Events"), ("h4", "Deep"), ("h3", "Events"))
    ]


def test_the_notebook_of_an_entity_is_shown_for_the_first_and_linked_for_the_others(project):
    tree = build(project)
    assert [tag.text for tag in tree.select("em")] == ["m1"]
    [link] = tree.select("main a[href$=ipynb]")
    assert link["href"] == link.text == "02_training/m2.ipynb"


def test_strings_are_escaped_scripts_dropped_code_folded_and_errors_boxed(project):
    tree = build(project, *rich())
    facts = dict(zip(tree.select("dt"), tree.select("dd"), strict=True))
    expected = {"profile": "pumps", "data set": "synthetic"} | FACTS
    assert {name.text: value.text for name, value in facts.items()} == expected
    assert len(tree.find_all("script")) == 1 and "evil" not in tree.text and "kept" in tree.text
    assert not tree.find_all(["iframe", "link", "object", "svg"])
    assert [box.text for box in tree.select("pre.text")] == ["a < b\n"]
    assert "quiet warning" not in tree.text and "of 9" not in tree.text
    folds = tree.select("details.code:not([open])")
    names = [fold.summary.text.strip() for fold in folds]
    assert names == ["code"] * 7  # parameters are the notebook's user's
    assert folds[0].select_one(".highlight").text.strip() == "x = 1"
    [box] = tree.select(".error")
    assert "This cell failed:\nValueError: 3 < 4" in box.text and "\x1b" not in box.text
    assert tree.select_one("strong").text == "5"  # Markdown that code made


def test_tables_scroll_and_images_have_a_text(project):
    tree = build(project, *rich())
    table, empty = tree.select(".scroll[tabindex='0'] table")
    assert not empty.find_all("td")
    rows = [[cell.text for cell in row.find_all(["th", "td"])] for row in table.find_all("tr")]
    assert rows == [["m", "AP", "what"], ["1", "0.25", "a b"], ["2", "", "2"]]
    marked = [cell.text for cell in table.select("[align=right]")]
    assert marked == ["AP", "0.25", ""] and len(tree.find_all("style")) == 1
    assert tree.select_one(".csv a")["href"] == "../../figures/pumps/events.csv"
    first, second = tree.find_all("img")
    assert first["src"] == "data:image/png;base64,iVBORw==" and first["alt"] == 'the "best"'
    assert second["alt"] == "Figure: Events" and b"<svg>" in b64decode(second["src"][26:])


def test_what_cannot_be_shown_is_named_and_the_old_page_stays(project):
    out = project / "results" / "pumps" / "report.html"
    out.write_text("old")
    one = project / "results" / "pumps" / "02_training" / "m1.ipynb"
    with pytest.raises(DataError, match=r"01_data.*ipynb: the image 'plan.png' is no output of a"):
        build(project, new_markdown_cell("![x](plan.png)"))
    write(one.parent.parent / "01_data_exploration")
    for text in (b"", b'{"nbformat": 4, "cells": [', b"\xff\xfe", b'{"nbformat": 4}', b"[1]"):
        one.write_bytes(text)
        with pytest.raises(DataError, match=f"^{re.escape(str(one))}: not a whole notebook"):
            build(project)
    one.unlink()
    with pytest.raises(DataError, match=f"^{re.escape(str(one))}: no such notebook. Run it first"):
        build(project)
    assert out.read_text() == "old" and not list(out.parent.glob(".report*"))


def test_what_is_about_the_study_stands_on_its_own_data_set_alone(project):
    cells = [new_markdown_cell("## Of the study"), code("1 + 1", shown("text/plain", "two"))]
    for cell in cells:
        cell.metadata["tags"] = ["smd"]
    assert "Of the study" not in build(project, *cells, new_markdown_cell("## Ours")).get_text()
    out = project / "results" / "pumps" / "report.html"
    page.build(TwoSeries(profile="pumps", dataset="smd"), out)
    assert "Of the study" in out.read_text("utf-8")


def test_the_report_as_markdown_shows_the_published_pictures_and_no_code(project):
    build(project, *rich())
    folder = project / "figures" / "pumps"
    plot = project / "results" / "pumps" / "02_training" / "m1" / "events.png"
    plot.parent.mkdir()
    plot.write_bytes(b64decode("iVBORw=="))  # of one entity, so not published yet
    (project / "results" / "pumps" / "07_deployment.ipynb").unlink()  # sections may be missing
    page.markdown(TwoSeries(profile="pumps", dataset="synthetic"))
    text = (folder / "report.md").read_text("utf-8")
    assert "(events.png)" in text and (folder / "events.png").exists()
    assert "rows: int" not in text and "plot()" not in text
    assert ">0.25</td>" in text and "(events.csv)" not in text and 'href="events.csv"' in text
    assert "<style" not in text and "**5** events" in text
