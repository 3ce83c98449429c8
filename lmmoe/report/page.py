"""The report as one HTML page: executed notebooks in a file that needs nothing beside it.

Templates, style and script lie in ``lmmoe/report/template``. nbconvert turns the cells into
bare HTML; what it yields is then given unique ids, anchors, boxes for tables and embedded images.
"""

import hashlib
import mimetypes
import re
import struct
import unicodedata
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from importlib import resources
from itertools import count, groupby
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

import nbformat
from bs4 import BeautifulSoup, Tag
from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import InvalidNotebook
from traitlets.config import Config

from lmmoe.errors import DataError
from lmmoe.paths import replacing

# What a cell's output is shown as, the best first; scripts and widgets are not shown.
SHOWN = ["text/html", "text/markdown", "image/svg+xml", "image/png", "image/jpeg", "text/plain"]
DROPPED = ["script", "noscript", "link", "meta", "base", "iframe", "object", "embed"]
HEADINGS = ["h1", "h2", "h3", "h4", "h5", "h6"]
BLANK = {"", "-", "–", "—", "nan", "none", "na", "n/a", "<na>", "nat", "inf", "-inf", "…", "..."}
# What nbformat and nbconvert raise; the second and third where the JSON is of another kind.
BAD_NOTEBOOK = (ValueError, TypeError, AttributeError, nbformat.ValidationError, InvalidNotebook)
LONG = 40  # characters of a table's cell; more than that are broken into lines
PNG_START = b64encode(b"\x89PNG\r\n\x1a\n")[:10].decode()  # ten characters: the bytes 0 to 6


@dataclass(frozen=True)
class Section:
    """One executed notebook on the page.

    ``title`` stands in place of the heading that the notebook begins with. A ``folded`` section is
    closed until the reader opens it. Neighbours with the same ``group`` share a heading of that
    name; an empty one means none.
    """

    title: str
    notebook: Path
    folded: bool = False
    group: str = ""


@dataclass(frozen=True)
class _Heading:
    text: str
    id: str
    deep: bool


@dataclass
class _Part:
    """A section's HTML; ``names`` leads from the ids that a notebook knows to those of the page."""

    text: str
    id: str
    folded: bool
    file: str
    body: BeautifulSoup
    headings: list[_Heading] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Group:
    text: str
    id: str
    parts: list[_Part]


class _Ids:
    """Ids for links, each given out once."""

    def __init__(self) -> None:
        self.taken = {"top", "content", "theme"}  # the template's own

    def new(self, text: str) -> str:
        """The text in lower-case letters, digits and hyphens; numbered where that is taken."""
        plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
        name = re.sub(r"[^a-z0-9]+", "-", plain).strip("-") or "section"
        names = (f"{name}-{number}" if number > 1 else name for number in count(1))
        free = next(name for name in names if name not in self.taken)
        self.taken.add(free)
        return free


def build(
    sections: list[Section],
    out: Path,
    *,
    title: str,
    subtitle: str = "",
    facts: dict[str, str] | None = None,
) -> Path:
    """Write the page to ``out`` and return that path; the same input gives the same bytes.

    ``facts`` (name to value) are shown under the title. Raises `DataError` where a notebook is
    missing or damaged, or shows an image that cannot be embedded; ``out`` then stays as it was.
    """
    ids, exporter = _Ids(), _exporter()
    groups = [
        _group(name, list(members), ids, exporter)
        for name, members in groupby(sections, key=lambda section: section.group)
    ]
    _link([part for group in groups for part in group.parts])
    script = _template("page.js")
    digest = b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    html = environment.from_string(_template("page.html.j2")).render(
        title=title,
        subtitle=subtitle,
        facts=facts or {},
        groups=groups,
        style=Markup(_template("page.css")),
        script=Markup(script),
        script_hash=f"sha256-{digest}",
    )
    with replacing(out) as part_file:
        part_file.write_text(html + "\n", encoding="utf-8", newline="\n")
    return out


def _template(name: str) -> str:
    return (resources.files("lmmoe.report") / "template" / name).read_text(encoding="utf-8")


def _exporter() -> HTMLExporter:
    """An exporter with the project's own template, which does not look into the current folder."""
    return HTMLExporter(
        config=Config({"NbConvertBase": {"display_data_priority": SHOWN}}),
        template_name="base",
        template_file="cells.html.j2",
        extra_loaders=[DictLoader({"cells.html.j2": _template("cells.html.j2")})],
        extra_template_basedirs=[],
        exclude_anchor_links=True,
    )


def _group(name: str, members: list[Section], ids: _Ids, exporter: HTMLExporter) -> _Group:
    place = ids.new(name) if name else ""
    parts = [_part(section, ids, exporter, level=3 if name else 2) for section in members]
    return _Group(name, place, parts)


def _part(section: Section, ids: _Ids, exporter: HTMLExporter, *, level: int) -> _Part:
    """Render a notebook below a title that is a heading of ``level``."""
    body = BeautifulSoup(_cells(section.notebook, exporter), "html.parser")
    place = ids.new(section.title)
    part = _Part(section.title, place, section.folded, section.notebook.name, body)
    _strip(body)
    _head(part, ids, level)
    for image in body.find_all("img"):
        _embed(image, section)
    for table in body.find_all("table"):
        _align(table)
        del table["border"]
        # Focusable, so that the arrow keys scroll it.
        box = {"class": "scroll", "tabindex": "0", "role": "group", "aria-label": "Table"}
        table.wrap(body.new_tag("div", attrs=box))
    return part


def _cells(notebook: Path, exporter: HTMLExporter) -> str:
    """The HTML of a notebook's cells, or a `DataError` that names the file."""
    if not notebook.is_file():
        raise DataError("no such notebook", file=notebook, hint="Run it first")
    try:
        node = nbformat.read(notebook, as_version=4)
        nbformat.validate(node)
        return exporter.from_notebook_node(node)[0]
    except BAD_NOTEBOOK as error:
        reason = str(error).strip().split("\n")[0]
        raise DataError(f"not a whole notebook ({reason})", file=notebook) from error


def _strip(body: BeautifulSoup) -> None:
    """Drop what would load or run something, and the style that pandas puts beside each table."""
    for tag in [*body.find_all(DROPPED), *body.select("style[scoped]")]:
        tag.decompose()


def _head(part: _Part, ids: _Ids, level: int) -> None:
    """Give the headings their level, an id and an anchor; keep the other ids unique."""
    if (first := part.body.find(HEADINGS)) and first.name == "h1":
        part.names[_jupyter_id(first)] = part.id
        first.decompose()
    for heading in part.body.find_all(HEADINGS):
        depth = max(int(heading.name[1]), 2)
        text = " ".join(heading.get_text().split())
        place = ids.new(f"{part.id} {text}")
        part.names[_jupyter_id(heading)] = place
        if depth <= 3:
            part.headings.append(_Heading(text, place, deep=depth == 3))
        heading.name = f"h{min(level + depth - 1, 6)}"
        heading["id"] = place
        link = {"class": "anchor", "href": f"#{place}", "aria-label": "Link to this heading"}
        heading.extend([" ", part.body.new_tag("a", attrs=link, string="#")])
    for tag in part.body.find_all(id=True):
        if tag.name not in HEADINGS:
            given = tag["id"]
            tag["id"] = ids.new(given) if given in ids.taken else given
            ids.taken.add(tag["id"])
            part.names[given] = tag["id"]


def _jupyter_id(heading: Tag) -> str:
    """The id that Jupyter gives to a heading, which links inside notebooks are written for."""
    return heading.get_text().strip().replace(" ", "-")


def _link(parts: list[_Part]) -> None:
    """Lead links inside a notebook, and from one to another on the page, to the page's ids."""
    by_file = {part.file: part for part in reversed(parts)}  # of one name the first counts
    for part in parts:
        for link in part.body.find_all("a", href=True):
            path, _, name = unquote(link["href"]).partition("#")
            other = by_file.get(PurePosixPath(path).name) if path and "://" not in path else None
            if other is not None:
                link["href"] = "#" + other.names.get(name, other.id)
            elif not path and name in part.names:
                link["href"] = "#" + part.names[name]


def _embed(image: Tag, section: Section) -> None:
    """Put an image file into the page, and say how large an image is and what it belongs to."""
    source = image.get("src", "")
    if not source.startswith("data:"):
        file = section.notebook.parent / unquote(source)
        if "://" in source or not file.is_file():
            raise DataError(
                f"the image {source!r} cannot be put into the page",
                file=section.notebook,
                hint="Show it as the output of a cell, or name a file beside the notebook",
            )
        kind = mimetypes.guess_type(file.name)[0] or "image/png"
        image["src"] = source = f"data:{kind};base64,{b64encode(file.read_bytes()).decode()}"
    del image["srcset"]
    code = source.partition(",")[2]
    if code.startswith(PNG_START) and len(code) >= 32 and not image.get("width"):
        # The browser then keeps the room free from the start: links lead to the right place.
        width, height = struct.unpack(">II", b64decode(code[:32])[16:24])
        image["width"], image["height"] = str(width), str(height)
    if not image.get("alt"):
        heading = image.find_previous(HEADINGS)
        under = heading.get_text().removesuffix(" #") if heading else section.title
        image["alt"] = f"Figure: {under}"


def _align(table: Tag) -> None:
    """Mark the cells of columns that hold numbers, and the headers above them."""
    placed = [pair for row in table.find_all("tr") for pair in _from_right(row)]
    columns: dict[int, list[str]] = {}
    for position, cell in placed:
        if cell.name == "td":
            columns.setdefault(position, []).append(cell.get_text(strip=True))
    numeric = {position for position, texts in columns.items() if _all_numbers(texts)}
    for position, cell in placed:
        header = cell.find_parent("thead") is not None and cell.get("colspan", "1") == "1"
        if position in numeric and (header or cell.name == "td"):
            cell["class"] = [*cell.get_attribute_list("class", []), "num"]
        elif len(cell.get_text(strip=True)) > LONG:
            cell["class"] = [*cell.get_attribute_list("class", []), "long"]


def _from_right(row: Tag) -> list[tuple[int, Tag]]:
    """The cells with their column, counted from the right.

    pandas lets row names span several rows: the rows below then lack cells on the left only.
    """
    cells, position = [], 0
    for cell in reversed(row.find_all(["td", "th"], recursive=False)):
        cells.append((position, cell))
        span = cell.get("colspan", "1")
        position += int(span) if span.isdigit() else 1
    return cells


def _all_numbers(texts: list[str]) -> bool:
    filled = [text for text in texts if text.lower() not in BLANK]
    return bool(filled) and all(map(_is_number, filled))


def _is_number(text: str) -> bool:
    """Whether a cell holds a number, perhaps with a spread or a unit: ``0.5 ± 0.1 s``."""
    text = re.sub(r"(?<=\d)e[-+]?\d+", "", text, flags=re.IGNORECASE)
    text = re.sub(r"(?<=\d)\s?[^\W\d_]{1,3}$", "", text)
    return any(map(str.isdigit, text)) and not any(map(str.isalpha, text))
