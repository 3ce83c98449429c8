"""What a notebook leaves behind: figures, tables, and a record of what they were made from."""

import json
import platform
from datetime import UTC, datetime
from importlib.metadata import version

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from lmmoe import paths
from lmmoe.report.measure import commit
from lmmoe.report.plots import style
from lmmoe.report.profile import Profile

PACKAGES = ("torch", "numpy", "pandas", "scikit-learn", "scipy", "matplotlib", "papermill")


class Report:
    """Write tables and figures under ``out``, whole or not at all, and return them for display.

    ``out`` counts from the project's root; empty, it is ``results/<profile>``, which git ignores.
    """

    def __init__(self, profile: Profile, out: str = "") -> None:
        pd.options.display.max_colwidth = pd.options.display.max_columns = None  # hide nothing
        self.folder = paths.home() / out if out else paths.results(profile.profile)

    def figure(self, figure: Figure, name: str) -> object:
        """Write ``name``.png in 256 colours, a third of the bytes, and return what was written."""
        from IPython import display

        canvas = FigureCanvasAgg(figure)
        with style.in_style():
            figure.set_dpi(style.STYLE["savefig.dpi"])
            canvas.draw()  # once; `savefig` lays everything out a second time
        # The method that keeps rare colours: those of thin text beside a heat map.
        how = {"method": Image.Quantize.MAXCOVERAGE, "dither": Image.Dither.NONE}
        drawn = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
        path = self.folder / f"{name}.png"
        with paths.replacing(path) as part:
            drawn.quantize(256, **how).save(part, format="PNG", optimize=True)
        return display.Image(data=path.read_bytes(), width=round(figure.get_figwidth() * 96))

    def table(self, table: pd.DataFrame, name: str) -> pd.DataFrame:
        """Write ``name``.csv with all digits and return the table rounded."""
        with paths.replacing(self.folder / f"{name}.csv") as part:
            table.to_csv(part, float_format="%.10g")
        return table.round(3)

    def provenance(self, profile: Profile, rows: pd.DataFrame) -> None:
        """Write ``provenance.json``: what a reader needs to get the same tables again."""
        facts = {
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "commit": commit(),
            "python": platform.python_version(),
            "platform": platform.platform(),
            "versions": {name: version(name) for name in PACKAGES},
            "parameters": profile.model_dump(exclude_none=True),
            "data": dict(zip(rows["entity"], rows["data"], strict=True)),
            "detector_versions": dict(zip(rows["detector"], rows["version"], strict=True)),
            "runs": len(rows),
            "failed": int(rows["error"].notna().sum()),
        }
        with paths.replacing(self.folder / "provenance.json") as part:
            part.write_text(json.dumps(facts, indent=1, ensure_ascii=False), encoding="utf-8")
