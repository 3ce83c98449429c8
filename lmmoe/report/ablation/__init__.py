"""The ablation: what makes LightMMoE work, and what only seems to.

`plan` says which variants run where (``params/ablation*.yaml``), `collected` gives their rows,
`variants` takes their names apart, `forecast_errors` tells how well they forecast; `inside` opens a
fitted model.
"""

from lmmoe.report.ablation.forecast import forecast_errors
from lmmoe.report.ablation.plans import collected, opinions, plan, whole
from lmmoe.report.ablation.variants import FULL, YARDSTICKS, Variant, variants

__all__ = [
    "FULL",
    "YARDSTICKS",
    "Variant",
    "collected",
    "forecast_errors",
    "opinions",
    "plan",
    "variants",
    "whole",
]
