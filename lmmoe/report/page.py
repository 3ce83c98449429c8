"""The report of executed notebooks: one HTML page that needs nothing beside it, and Markdown.

nbconvert makes HTML by the templates beside; what would load or run something is dropped here.
"""

import hashlib
import json
import re
from base64 import b64encode
from pathlib import Path

import nbformat
from bs4 import BeautifulSoup, Tag
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from nbconvert import HTMLExporter, MarkdownExporter
from traitlets.config import Config

from lmmoe import paths
from lmmoe.data import DATASETS
from lmmoe.errors import DataError
from lmmoe.report.profile import Profile

SECTIONS = {
    "00_summary": "Summary",
    "01_data_exploration": "1. The data",
    "02_training": "2. One model, one entity",
    "03_ablation": "3. Ablation",
    "04_efficiency": "4. Cost",
    "05_comparison": "5. Comparison",
    "06_evaluation_pitfalls": "6. Evaluation pitfalls",
    "07_deployment": "7. Deployment",
}
FILES = FileSystemLoader(Path(__file__).parent / "template")
TEMPLATES = Environment(loader=FILES, autoescape=True, undefined=StrictUndefined)
# What a cell's output is shown as, the best first; scripts and widgets are not shown.
KINDS = ("text/html", "text/markdown", "image/svg+xml", "image/png", "image/jpeg", "text/plain")
SHOWN = Config({"NbConvertBase": {"display_data_priority": [*KINDS]}})
DROPPED = ["script", "noscript", "link", "meta", "base", "iframe", "object", "embed"]
HEADINGS = ["h1", "h2", "h3", "h4", "h5", "h6"]
NUMBER = re.compile(r"[-+<\d][-+\d.,e% ()to]*|–?")  # also 95 %, < 0.001, 0.49 (0.37 to 0.62)


def build(profile: Profile, out: Path) -> None:
    """Write the page of a profile whose notebooks were executed.

    Notebook 02 is shown for the first entity and linked for the others. Raises `DataError` where a
    notebook is missing or damaged; ``out`` then stays as it was.
    """
    # The project's own templates; it does not look for others in the current folder.
    how = {"template_name": "base", "template_file": "cells.html.j2", "extra_loaders": [FILES]}
    how |= {"extra_template_basedirs": [], "exclude_anchor_links": True}
    exporter = HTMLExporter(config=SHOWN, **how)
    sections = []
    for name, (first, *others) in _books(profile).items():
        node = _read(profile, first, f"../../figures/{profile.profile}/")
        body = BeautifulSoup(exporter.from_notebook_node(node)[0], "html.parser")
        about = {"id": name, "text": SECTIONS[name], "contents": _ready(body, name, first)}
        sections.append(about | {"body": body, "others": others})
    record = json.loads((paths.figures(profile.profile) / "provenance.json").read_text("utf-8"))
    script = TEMPLATES.get_template("page.js").render()
    digest = b64encode(hashlib.sha256(script.encode()).digest()).decode()
    made = TEMPLATES.get_template("page.html.j2")
    html = made.render(profile=profile, record=record, sections=sections, digest=digest)
    with paths.replacing(out) as part:
        part.write_text(html + "\n", encoding="utf-8", newline="\n")


def markdown(profile: Profile) -> None:
    """Write the report as Markdown, without code, beside the pictures that it shows.

    A code host renders ``figures/NAME/report.md``. Notebooks that were not executed are left out.
    """
    folder, heading, lines, contents = paths.figures(profile.profile), "", [], []
    exporter = MarkdownExporter(config=SHOWN, exclude_input=True, exclude_output_prompt=True)
    first = paths.plain(profile.present[0])
    for file in (paths.results(profile.profile) / "02_training" / first).glob("*.png"):
        (folder / file.name).write_bytes(file.read_bytes())
    pictures = {file.read_bytes(): file.name for file in folder.glob("*.png")}
    for name, *_ in _books(profile).values():
        if not (paths.results(profile.profile) / name).exists():
            continue
        text, found = exporter.from_notebook_node(_read(profile, name, ""))
        for line in re.sub(r"\n\s*\n", "\n\n", text.strip() + "\n\n").splitlines():
            if line.startswith("#"):
                level, _, heading = line.partition(" ")
                anchor = re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
                contents += [f"- [{heading}](#{anchor})"] if level == "#" else []
            for image, content in found["outputs"].items():
                shown = f"![{heading}]({pictures.get(content, image)})"
                line = line.replace(f"![png]({image})", shown)
            lines.append(line)
    with paths.replacing(folder / "report.md") as part:
        part.write_text("\n".join([*contents, "", *lines]) + "\n", encoding="utf-8")


def _books(profile: Profile) -> dict[str, list[str]]:
    """The sections that are shown, and the executed notebooks of each."""
    trained = [f"02_training/{paths.plain(one)}.ipynb" for one in profile.present]
    shown = [name for name in SECTIONS if name not in profile.left_out]
    return {name: trained if name == "02_training" else [f"{name}.ipynb"] for name in shown}


def _read(profile: Profile, name: str, figures: str) -> nbformat.NotebookNode:
    """Read a notebook as the page shows it; links below its tables lead to ``figures``."""
    file = paths.results(profile.profile) / name
    try:
        node = nbformat.read(file, as_version=4)
    except FileNotFoundError as error:
        raise DataError("no such notebook", file=file, hint="Run it first") from error
    except (ValueError, AttributeError, nbformat.ValidationError) as error:
        raise DataError(f"not a whole notebook ({error})", file=file) from error
    left_out = {"notebook-only", "parameters", "injected-parameters"}
    left_out |= {*DATASETS} - {profile.dataset} | {"unlabelled" if profile.labelled else "labelled"}
    node.cells = [one for one in node.cells if left_out.isdisjoint(one.metadata.get("tags", ()))]
    tables = {f'"{csv.stem}"': csv.name for csv in paths.figures(profile.profile).glob("*.csv")}
    for cell in node.cells:
        named = [csv for quoted, csv in tables.items() if quoted in cell.source]
        links = "\n".join(f'<a href="{figures}{csv}">{csv}</a>' for csv in named)
        for output in cell.get("outputs", ()):
            if "<table" in (html := output.get("data", {}).get("text/html", "")):
                # Focusable, so that the arrow keys scroll it.
                box = f'<div class="scroll" tabindex="0" role="group">{_plain(html)}</div>'
                output.data["text/html"] = box + (f'\n<p class="csv">{links}</p>' if links else "")
    return node


def _plain(html: str) -> str:
    """Make a data frame's HTML plain: no style, one row less in the head, numbers to the right."""
    html = re.sub(r"(?s)<style scoped>.*?</style>|(?<=<td>)(NaN|None)(?=</td>)", "", html)
    body = BeautifulSoup(html, "html.parser")
    for table in body.find_all("table"):
        rows, heads = table.select("tbody tr"), table.select("thead tr")
        levels = len(rows[0].find_all("th")) if rows else 0
        names = heads[-1].find_all("th")
        if len(heads) > 1 and not any(cell.text for cell in names[levels:]):
            # The last row names the index only.
            for cell, name in zip(heads[-2].find_all("th")[:levels], names, strict=False):
                cell.string = name.text
            heads.pop().decompose()
        columns = zip(*(row.find_all("td") for row in rows), strict=True)
        for title, column in zip(heads[-1].find_all("th")[levels:], columns, strict=False):
            if all(NUMBER.fullmatch(cell.text) for cell in column):
                for cell in (title, *column):
                    cell["align"] = "right"
    return re.sub(r"\n\s*\n", "\n", str(body))


def _ready(body: BeautifulSoup, name: str, file: str) -> list[Tag]:
    """Make a notebook's HTML a section below a title of its own; return its main headings."""
    for tag in body.find_all(DROPPED):
        tag.decompose()
    if (first := body.find(HEADINGS)) and first.name == "h1":
        first.decompose()
    headings, contents = body.find_all(HEADINGS), []
    for number, heading in enumerate(headings):
        contents += [heading] if heading.name in ("h1", "h2") else []
        heading["id"] = f"{name}-{number}"
        heading.name = f"h{min(max(int(heading.name[1]), 2) + 1, 6)}"
    for image in body.find_all("img"):
        if not image["src"].startswith("data:"):
            raise DataError(f"the image {image['src']!r} is no output of a cell", file=file)
        if not image.get("alt"):
            above = image.find_previous(HEADINGS)
            image["alt"] = f"Figure: {above.get_text() if above else name}"
    return contents
