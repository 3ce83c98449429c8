"""What a wrong evaluation gives: the usual mistakes, each made on purpose on our own scores.

`MISTAKES` lists them; each knows what is wrong, who described it, which number it flatters and how
to make it. `measure` makes all of them on a profile's entities, `report.tables.pitfalls` turns that
into the table of what each mistake is worth, `amad.switches` says what the mistakes inside the
study's AMAD give. How the parts fit:

- `scored`: one detector with one seed on one entity. A mistake's ``measure`` looks at it and
  returns numbers by setting: the number before, the number after, and what lies between.
- `fleet`: the same numbers of all entities. A mistake's ``combine`` says which of them is the
  honest number and which the flattered one.
- `labels`, `thresholds`, `leaks`, `averages`, `floors`: the mistakes, by what they abuse;
  `together`: three of them, one after the other.
"""

from lmmoe.report.pitfalls.measuring import DETECTORS, EXPERIMENTS, MISTAKES, Measured, measure
from lmmoe.report.pitfalls.mistake import GROUPS, Mistake

__all__ = ["DETECTORS", "EXPERIMENTS", "GROUPS", "MISTAKES", "Measured", "Mistake", "measure"]
