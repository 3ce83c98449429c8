"""Made-up notebooks and a reader of the page that they become."""

import struct
import zlib
from base64 import b64encode
from html.parser import HTMLParser

import nbformat
import pandas as pd
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from lmmoe.report.page import Section, build

VOID = {"meta", "link", "img", "br", "hr", "input", "source", "col", "wbr"}


def png(width=3, height=2):
    """A white image, written by hand."""

    def chunk(kind, body):
        check = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + check

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress((b"\0" + b"\xff" * width) * height)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


PNG = b64encode(png()).decode()


class Tree(HTMLParser):
    """The elements of a page, each with its attributes, ancestors and text; refuses bad nesting."""

    def __init__(self, html):
        super().__init__()
        self.stack, self.all = [], []
        self.feed(html)
        self.close()
        assert not self.stack, f"never closed: {self.stack}"

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"an attribute twice: {tag} {names}"
        element = {"tag": tag, "attrs": dict(attrs), "in": list(self.stack), "text": ""}
        self.all.append(element)
        if tag not in VOID:
            self.stack.append(element)

    def handle_startendtag(self, tag, attrs):
        assert tag in VOID
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag):
        assert self.stack.pop()["tag"] == tag

    def handle_data(self, data):
        for element in self.stack:
            element["text"] += data

    def find(self, tag, **attrs):
        return [
            element
            for element in self.all
            if element["tag"] == tag
            and all(element["attrs"].get(name.strip("_")) == want for name, want in attrs.items())
        ]

    def one(self, tag, **attrs):
        (element,) = self.find(tag, **attrs)
        return element


def inside(element, tag, **attrs):
    return any(
        outer["tag"] == tag and all(outer["attrs"].get(k.strip("_")) == v for k, v in attrs.items())
        for outer in element["in"]
    )


def write(path, *cells):
    notebook = new_notebook(cells=list(cells))
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"
    nbformat.write(notebook, path)
    return path


def code(source, *outputs, tags=()):
    return new_code_cell(source, outputs=list(outputs), metadata={"tags": list(tags)})


def shown(mime, data, **metadata):
    return new_output("display_data", data={mime: data}, metadata=metadata)


def make(tmp_path, *cells, **more):
    """Build a page of one notebook called Data and return its text."""
    section = Section("Data", write(tmp_path / "01-data.ipynb", *cells))
    return build([section], tmp_path / "page.html", title="Report", **more).read_text("utf-8")


def frame(**columns):
    return shown("text/html", pd.DataFrame(columns).to_html(notebook=True))


def four_sections(tmp_path):
    """Two notebooks with the same headings, and two folded ones with the same title."""
    first = write(
        tmp_path / "01-data.ipynb",
        new_markdown_cell("# Data\n\nSome *words*.\n\n## Events\n\n### Long ones\n\n#### Deep"),
        code("rows: int = 5", tags=["parameters"]),
        code("rows = 9", tags=["injected-parameters"]),
        code("x = 1", new_output("stream", name="stdout", text="a < b\n")),
        code("table", frame(machine=["m-1", "m-2"], AP=[0.25, 1.5])),
    )
    second = write(
        tmp_path / "02-scores.ipynb",
        new_markdown_cell("# Scores\n\n## Events\n\n## Events\n\nAgain."),
        code("plot()", shown("image/png", PNG)),
        code(
            "fail()",
            new_output("stream", name="stderr", text="a quiet warning"),
            new_output(
                "error",
                ename="ValueError",
                evalue="3 < 4 columns",
                traceback=["\x1b[31mTraceback\x1b[0m", "ValueError: 3 < 4 columns"],
            ),
        ),
    )
    return [
        Section("Data", first),
        Section("Scores", second),
        Section("machine-1-1", first, folded=True, group="Every machine"),
        Section("machine-1-1", second, folded=True, group="Every machine"),
    ]


def four_parts(tmp_path):
    """The page of `four_sections`, read."""
    out = build(
        four_sections(tmp_path), tmp_path / "page.html", title="Report", facts={"profile": "smoke"}
    )
    return Tree(out.read_text(encoding="utf-8"))
