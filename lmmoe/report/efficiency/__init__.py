"""What detectors cost, and why: tables that are measured once and then kept.

`table` measures detectors, `limits` holds LightMMoE to what the processor can do, `growth` shows
how costs grow, `fleet` what a fleet would pay, `evidence` gives what the audit of claims asks for.
Each measurement runs in a process of its own with one thread (`child`).
"""

from lmmoe.report.efficiency.audited import evidence, published
from lmmoe.report.efficiency.measurements import effort_for, read, table
from lmmoe.report.efficiency.prices import Prices, fleet
from lmmoe.report.efficiency.studies import growth, limits

__all__ = [
    "Prices",
    "effort_for",
    "evidence",
    "fleet",
    "growth",
    "limits",
    "published",
    "read",
    "table",
]
