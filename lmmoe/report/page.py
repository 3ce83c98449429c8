"""The report as one HTML page: executed notebooks in a file that needs nothing beside it.

nbconvert makes HTML by the templates in ``lmmoe/report/template``; here headings get unique ids,
tables get boxes that scroll, and what would load or run something is dropped.
"""

import hashlib
import json
import re
import unicodedata
from base64 import b64encode
from pathlib import Path

import nbformat
from bs4 import BeautifulSoup, Tag
from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup
from nbconvert import HTMLExporter, MarkdownExporter
from traitlets.config import Config

from lmmoe import paths
from lmmoe.data import DATASETS
from lmmoe.errors import DataError
from lmmoe.report.profile import Profile

TITLE = "Anomaly detection in multivariate time series"
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
# What a cell's output is shown as, the best first; scripts and widgets are not shown.
SHOWN = ["text/html", "text/markdown", "image/svg+xml", "image/png", "image/jpeg", "text/plain"]
DROPPED = ["script", "noscript", "link", "meta", "base", "iframe", "object", "embed"]
HEADINGS = ["h1", "h2", "h3", "h4", "h5", "h6"]
LONG = 40  # characters of a table's cell; more than that are broken into lines
NUMBER = re.compile(
    r"[-+]?[\d.,]+(e[-+]?\d+)?( ?(±|\.\.) ?[\d.,]+)?( ?[^\W\d_%]{1,3}| ?%)?|-|–|nan"
)


def build(profile: Profile, out: Path) -> None:
    """Write the page of a profile whose notebooks were executed.

    Notebook 02 is shown for the first entity; those of the others are linked. Raises `DataError`
    where a notebook is missing or damaged; ``out`` then stays as it was.
    """
    exporter = HTMLExporter(
        config=Config({"NbConvertBase": {"display_data_priority": SHOWN}}),
        template_name="base",
        template_file="cells.html.j2",  # the project's own
        extra_loaders=[DictLoader({"cells.html.j2": _template("cells.html.j2")})],
        extra_template_basedirs=[],  # it does not look into the current folder
        exclude_anchor_links=True,
    )
    results, sections = paths.results(profile.profile), []
    for name, text in SECTIONS.items():
        books = [f"{name}.ipynb"]
        if name == "02_training":
            books = [f"{name}/{entity}.ipynb" for entity in profile.present]
        section = _section(text, results / books[0], profile, exporter)
        sections.append(section | {"others": books[1:]})
    record = json.loads((paths.figures(profile.profile) / "provenance.json").read_text("utf-8"))
    facts = {"profile": profile.profile, "data set": profile.dataset}
    facts |= {name: str(record[name]) for name in ("runs", "commit", "created")}
    script = _template("page.js")
    digest = b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    html = environment.from_string(_template("page.html.j2")).render(
        title=TITLE,
        subtitle="Synthetic data: generated." if profile.dataset == "synthetic" else "",
        facts=facts,
        sections=sections,
        style=Markup(_template("page.css")),
        script=Markup(script),
        script_hash=f"sha256-{digest}",
    )
    with paths.replacing(out) as part:
        part.write_text(html + "\n", encoding="utf-8", newline="\n")


def markdown(profile: Profile) -> None:
    """Write the report as Markdown, without code, beside the pictures that it shows.

    ``figures/NAME/report.md`` can be read where the repository is hosted; raises as `build`.
    """
    folder, parts = paths.figures(profile.profile), []
    exporter = MarkdownExporter(
        config=Config({"NbConvertBase": {"display_data_priority": SHOWN}}),
        exclude_input=True,
        exclude_output_prompt=True,
    )
    pictures = {file.read_bytes(): file.name for file in folder.glob("*.png")}
    for name in SECTIONS:
        book = f"{name}/{profile.present[0]}" if name == "02_training" else name
        node = _read(paths.results(profile.profile) / f"{book}.ipynb", profile)
        text, found = exporter.from_notebook_node(node)
        for image, content in found["outputs"].items():
            text = text.replace(image, pictures.get(content, image))
        text = re.sub(r"<style scoped>.*?</style>\n", "", text, flags=re.DOTALL)
        parts.append(text.replace("<td>NaN</td>", "<td></td>").strip())
    with paths.replacing(folder / "report.md") as part:
        part.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _template(name: str) -> str:
    return (Path(__file__).parent / "template" / name).read_text(encoding="utf-8")


def _read(notebook: Path, profile: Profile) -> nbformat.NotebookNode:
    """Read a notebook without what only its user needs and, but on its data, the study."""
    try:
        node = nbformat.read(notebook, as_version=4)
    except FileNotFoundError as error:
        raise DataError("no such notebook", file=notebook, hint="Run it first") from error
    except (ValueError, AttributeError, nbformat.ValidationError) as error:
        raise DataError(f"not a whole notebook ({error})", file=notebook) from error
    left_out = {"notebook-only", "parameters", "injected-parameters"}
    left_out |= {*DATASETS} - {profile.dataset}
    node.cells = [one for one in node.cells if left_out.isdisjoint(one.metadata.get("tags", ()))]
    return node


def _section(
    text: str, notebook: Path, profile: Profile, exporter: HTMLExporter
) -> dict[str, object]:
    """Render a notebook below a title that takes the place of its first heading."""
    node = _read(notebook, profile)
    body = BeautifulSoup(exporter.from_notebook_node(node)[0], "html.parser")
    name, contents = _slug(text), []
    # pandas puts a style beside each table.
    for tag in [*body.find_all(DROPPED), *body.select("style[scoped]")]:
        tag.decompose()
    if (first := body.find(HEADINGS)) and first.name == "h1":
        first.decompose()
    for number, heading in enumerate(body.find_all(HEADINGS)):
        level = max(int(heading.name[1]), 2)
        heading["id"] = f"{name}-{number}-{_slug(heading.get_text())}"
        heading.name = f"h{min(level + 1, 6)}"
        contents += [heading] if level == 2 else []
    for image in body.find_all("img"):
        if not image["src"].startswith("data:"):
            raise DataError(f"the image {image['src']!r} is no output of a cell", file=notebook)
        if not image.get("alt"):
            above = image.find_previous(HEADINGS)
            image["alt"] = f"Figure: {above.get_text() if above else text}"
    for table in body.find_all("table"):
        _dress(table)
        # Focusable, so that the arrow keys scroll it.
        box = {"class": "scroll", "tabindex": "0", "role": "group", "aria-label": "Table"}
        table.wrap(body.new_tag("div", attrs=box))
    return {"text": text, "id": name, "body": body, "headings": contents}


def _slug(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")


def _dress(table: Tag) -> None:
    """Mark cells that hold numbers or long texts."""
    del table["border"]
    for cell in table.find_all("td"):
        text = cell.get_text(strip=True)
        if text == "NaN":  # not defined, or not measured
            cell.string = ""
        if NUMBER.fullmatch(text.lower()):
            cell["class"] = ["num"]
        elif len(text) > LONG:
            cell["class"] = ["long"]
