"""Drawing a picture as strictly as can be."""

import io
import warnings

import matplotlib as mpl
from matplotlib import pyplot

from lmmoe.report.plots import style


def drawn(draw):
    """Draw and render a picture; warnings are errors, and nothing outside may change."""
    before = dict(mpl.rcParams)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = draw()
        with style.in_style():
            figure.savefig(io.BytesIO(), format="png", dpi=30)
    assert dict(mpl.rcParams) == before
    assert pyplot.get_fignums() == []
    return figure
