import re
from base64 import b64decode

import pandas as pd
import pytest
from nbformat.v4 import new_markdown_cell, new_output, new_raw_cell
from pages import PNG, Tree, code, four_parts, frame, inside, make, png, shown

from lmmoe.errors import DataError
from lmmoe.report import page

WIDGET = "application/vnd.jupyter.widget-view+json"


@pytest.fixture
def tree(tmp_path):
    return four_parts(tmp_path)


# --- cells ---


def test_code_is_folded_and_says_what_it_is(tree):
    folds = [
        fold for fold in tree.find("details", class_="code") if inside(fold, "section", id="data")
    ]
    texts = [" ".join(fold["text"].split()) for fold in folds]
    assert texts == [
        "parameters rows: int = 5",
        "injected parameters rows = 9",
        "code x = 1",
        "code table",
    ]
    assert all("open" not in fold["attrs"] for fold in folds)
    highlighted = [box for box in tree.find("div") if "highlight" in box["attrs"].get("class", "")]
    assert highlighted
    assert all(inside(box, "details", class_="code") for box in highlighted)


def test_no_prompts_and_no_fold_for_an_empty_cell(tmp_path):
    result = new_output("execute_result", data={"text/plain": "41"}, execution_count=7)
    tree = Tree(make(tmp_path, code("40 + 1", result), code("  \n"), new_raw_cell("raw words")))
    assert len(tree.find("details", class_="code")) == 1
    main = tree.one("main")["text"]
    assert "In [" not in main
    assert "Out[" not in main
    assert "raw words" not in main
    assert tree.one("pre", class_="text")["text"] == "41"


def test_printed_text_is_shown_and_warnings_are_not(tree):
    assert "a < b\n" in [pre["text"] for pre in tree.find("pre", class_="text")]
    assert "a quiet warning" not in tree.one("html")["text"]


def test_errors_stand_in_a_box(tree):
    box = tree.find("div", class_="error")[0]
    assert "This cell failed:" in box["text"]
    assert box["text"].count("ValueError: 3 < 4 columns") == 2
    assert "\x1b" not in box["text"]
    assert "[31m" not in box["text"]


def test_markdown_is_rendered_and_maths_left_as_text(tmp_path):
    tree = Tree(make(tmp_path, new_markdown_cell("*soft* `code` and $a_1 * b_2$\n\n- point")))
    assert tree.one("em")["text"] == "soft"
    assert tree.one("code")["text"] == "code"
    assert "$a_1 * b_2$" in tree.one("main")["text"]
    assert [item["text"] for item in tree.find("li") if inside(item, "main")] == ["point"]


def test_markdown_made_by_code_counts_as_markdown(tmp_path):
    tree = Tree(make(tmp_path, code("x", shown("text/markdown", "## Found\n\n**5** events"))))
    assert tree.one("h3", id="data-found")
    assert tree.one("strong")["text"] == "5"


def test_scripts_frames_and_progress_bars_are_left_out(tmp_path):
    bar = new_output(
        "display_data", data={WIDGET: {"model_id": "x"}, "text/plain": "  0%|   | 0/9"}
    )
    both = new_output(
        "display_data", data={"application/javascript": "evil()", "text/plain": "plain words"}
    )
    spam = '<p>kept</p><script>evil()</script><iframe src="https://x.org"></iframe><link href="y">'
    tree = Tree(make(tmp_path, code("a", bar, both, shown("text/html", spam))))
    text = tree.one("main")["text"]
    assert "0/9" not in text
    assert "evil" not in text
    assert "plain words" in text
    assert "kept" in text
    assert len(tree.find("script")) == 1
    assert not tree.find("iframe")
    assert not tree.find("link")


# --- tables ---


def cells_of(html, tag):
    return {
        element["text"]: element["attrs"].get("class")
        for element in Tree(html).find(tag)
        if element["text"]
    }


def test_tables_lie_in_a_box_that_scrolls_and_can_be_focused(tree):
    for table in tree.find("table"):
        box = table["in"][-1]
        assert box["attrs"]["class"] == "scroll"
        assert box["attrs"]["tabindex"] == "0"
        assert "border" not in table["attrs"]
    assert len(tree.find("style")) == 1  # the page's own: pandas' is gone


def test_columns_of_numbers_and_their_headers_are_marked(tmp_path):
    table = frame(
        machine=["machine-1-1", "machine-1-2"],
        AP=[0.25, float("nan")],
        size=["1.5 ms", "2 ms"],
        mixed=["1", "two"],
        empty=["", ""],
    )
    html = make(tmp_path, code("table", table))
    assert cells_of(html, "td") == {
        "machine-1-1": None,
        "machine-1-2": None,
        "0.25": "num",
        "NaN": "num",
        "1.5 ms": "num",
        "2 ms": "num",
        "1": None,
        "two": None,
    }
    assert cells_of(html, "th") == {
        "machine": None,
        "AP": "num",
        "size": "num",
        "mixed": None,
        "empty": None,
        "0": None,
        "1": None,
    }


def test_row_names_that_span_rows_do_not_shift_the_columns(tmp_path):
    table = pd.DataFrame(
        {("plain", "note"): ["x", "y"], ("plain", "F1"): [0.1, 0.2], ("pa", "F1"): [0.3, 0.4]},
        index=pd.MultiIndex.from_product([["study"], ["CAD", "PCA"]], names=["protocol", "method"]),
    )
    html = make(tmp_path, code("table", shown("text/html", table.to_html(notebook=True))))
    assert cells_of(html, "td") == {
        "x": None,
        "y": None,
        **dict.fromkeys(("0.1", "0.2", "0.3", "0.4"), "num"),
    }
    headers = cells_of(html, "th")
    assert headers == {
        "plain": None,
        "pa": "num",
        "note": None,
        "F1": "num",
        "protocol": None,
        "method": None,
        "study": None,
        "CAD": None,
        "PCA": None,
    }


def test_long_text_in_a_table_may_be_broken_into_lines(tmp_path):
    html = make(tmp_path, code("table", frame(claim=["a " * 20 + "b", "a " * 19 + "bb"])))
    assert cells_of(html, "td") == {"a " * 20 + "b": "long", "a " * 19 + "bb": None}


@pytest.mark.parametrize(
    "text",
    ["0", "-1.5", "−1.5", "+2", "1e-9", "1.5E+03", "12,345", "0.51 ± 0.03", "0.5 (0.1)", "[0, 1]"]
    + ["97 %", "12 ms", "3 / 28", "2024-01-01", "<0.01", "10µs"],
)
def test_what_counts_as_a_number(text):
    assert page._is_number(text)


@pytest.mark.parametrize(
    "text", ["", "-", "machine-1-1", "F1", "L2", "e5", "5 rows", "x", "k=1", "1 of 2", "True"]
)
def test_what_does_not_count_as_a_number(text):
    assert not page._is_number(text)


# --- images ---


def test_a_figure_is_embedded_with_its_size_and_a_name(tree):
    image = tree.find("img")[0]["attrs"]
    assert image["src"] == f"data:image/png;base64,{PNG}"
    assert (image["width"], image["height"]) == ("3", "2")
    assert image["alt"] == "Figure: Events"


def test_a_figures_own_size_and_name_count(tmp_path):
    own = {"image/png": {"width": 30, "height": 20, "alt": 'scores, "sorted"'}}
    lines = "\n".join(re.findall(".{1,76}", PNG)) + "\n"  # as some kernels send it
    image = Tree(make(tmp_path, code("plot()", shown("image/png", lines, **own)))).one("img")
    assert image["attrs"] == {
        "src": f"data:image/png;base64,{PNG}",
        "width": "30",
        "height": "20",
        "alt": 'scores, "sorted"',
    }


def test_a_figure_before_any_heading_is_named_after_the_section(tmp_path):
    image = Tree(make(tmp_path, code("plot()", shown("image/png", PNG)))).one("img")
    assert image["attrs"]["alt"] == "Figure: Data"


def test_drawings_are_embedded_as_images(tmp_path):
    drawing = '<svg xmlns="http://www.w3.org/2000/svg"><script>evil()</script></svg>'
    tree = Tree(make(tmp_path, code("plot()", shown("image/svg+xml", drawing))))
    kind, _, data = tree.one("img")["attrs"]["src"].partition(",")
    assert kind == "data:image/svg+xml;base64"
    assert b64decode(data).decode().strip() == drawing
    assert not tree.find("svg")


def test_a_photograph_is_embedded_too(tmp_path):
    tree = Tree(make(tmp_path, code("plot()", shown("image/jpeg", "AAAA"))))
    assert tree.one("img")["attrs"]["src"] == "data:image/jpeg;base64,AAAA"


def test_an_image_file_beside_the_notebook_is_put_into_the_page(tmp_path):
    (tmp_path / "my figure.png").write_bytes(png(5, 4))
    html = make(tmp_path, new_markdown_cell("![a plan](my%20figure.png)"))
    image = Tree(html).one("img")["attrs"]
    assert b64decode(image["src"].removeprefix("data:image/png;base64,")) == png(5, 4)
    assert (image["width"], image["height"], image["alt"]) == ("5", "4", "a plan")


@pytest.mark.parametrize("source", ["gone.png", "https://example.org/x.png", "//example.org/x.png"])
def test_an_image_that_cannot_be_embedded_is_an_error(tmp_path, source):
    with pytest.raises(DataError) as error:
        make(tmp_path, new_markdown_cell(f"![x]({source})"))
    assert str(error.value) == (
        f"{tmp_path / '01-data.ipynb'}: the image {source!r} cannot be put into the page. "
        "Show it as the output of a cell, or name a file beside the notebook"
    )


def test_a_missing_attachment_is_an_error(tmp_path):
    with pytest.raises(DataError) as error:
        make(tmp_path, new_markdown_cell("![x](attachment:plan.png)"))
    assert str(error.value) == (
        f"{tmp_path / '01-data.ipynb'}: not a whole notebook (missing attachment: plan.png)"
    )
