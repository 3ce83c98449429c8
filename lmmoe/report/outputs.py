"""What a notebook leaves behind: named figures and tables in one folder."""

import json
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from lmmoe import paths
from lmmoe.report.params import Profile
from lmmoe.report.plots import style


class Report:
    """Write tables and figures under ``out``, whole or not at all, and return them for display.

    ``out`` counts from the project's root; empty, it is ``results/<profile>``, which git ignores,
    so that playing with a notebook changes nothing that is published.
    """

    def __init__(self, profile: Profile, out: str = "") -> None:
        self.folder = paths.home() / out if out else paths.results(profile.profile)

    def figure(self, figure: Figure, name: str) -> object:
        """Write ``name``.png and return the picture as it was written."""
        from IPython.display import Image

        path = self.folder / f"{name}.png"
        with paths.replacing(path) as part, style.in_style():
            figure.savefig(part, metadata={"Software": None})  # the same bytes with any version
        return Image(data=path.read_bytes(), width=round(figure.get_figwidth() * 96))

    def table(self, table: pd.DataFrame, name: str, *, digits: int = 3) -> pd.DataFrame:
        """Write ``name``.csv with all digits and return the table rounded."""
        with paths.replacing(self.folder / f"{name}.csv") as part:
            table.to_csv(part, float_format="%.10g")
        return table.round(digits)

    def facts(self, facts: dict[str, object], name: str) -> None:
        """Write ``name``.json."""
        with paths.replacing(self.folder / f"{name}.json") as part:
            part.write_text(json.dumps(facts, indent=1, ensure_ascii=False), encoding="utf-8")

    def file(self, name: str) -> Path:
        """Where a file of this report lies."""
        return self.folder / name
