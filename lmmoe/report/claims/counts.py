"""Rules for claims on numbers of parameters, on sizes and on arithmetic."""

import math
import re

from lmmoe.report.claims import design
from lmmoe.report.claims.evidence import Evidence, ours
from lmmoe.report.claims.judging import Finding, accepted, interval, shown
from lmmoe.report.claims.published import SCORES, Claim, bounded, claims, find, printed_range
from lmmoe.report.claims.scores import CONVENTIONAL, chance

BASELINE = "MTSMixer"  # what the technical report's table of expectations is relative to


def count(evidence: Evidence, name: str) -> tuple[float, str]:
    """Give a detector's number of parameters, and in words where it is from."""
    described = design.parts(name)
    learned = evidence.parameters(name)
    if not math.isnan(learned):
        differs = described is not None and described.total != learned
        words = f"{name} has {shown(learned)} parameters in our runs"
        return learned, words + (f" (its described sizes: {described.total:,})" if differs else "")
    if described is not None:
        return described.total, f"{name} has {described.total:,} parameters by its described sizes"
    return math.nan, f"no run of {name} tells its parameters"


def _compare(claim: Claim, value: float, notes: list[str], **found: object) -> Finding:
    """Hold a number made from counts against the printed one; untested where a count is missing."""
    if math.isnan(value):
        return Finding(f"{'; '.join(notes)}.", **found)
    limits = accepted(claim)
    digit = "" if bounded(claim) else " (half a printed digit)"
    how = f"{'; '.join(notes)}: {shown(value)}, {interval(limits)}{digit}."
    return Finding(how, value, value, limits, **found)


def total(claim: Claim, evidence: Evidence) -> Finding:
    """Judge a whole network's number of parameters."""
    value, words = count(evidence, claim.subject)
    notes = [words]
    if (run := ours(claim.subject)) != claim.subject:
        notes.insert(0, f"{count(evidence, run)[1]}, which gave the study's scores")
    return _compare(claim, value, notes, referee=value)


def part(claim: Claim, evidence: Evidence) -> Finding:
    """Judge the number of parameters of one expert, of all gates or of all towers."""
    parts = design.parts(claim.subject)
    name = {"one expert": "expert"}.get(claim.scope, claim.scope)
    value = getattr(parts, name)
    learned = evidence.parameters(claim.subject)
    agrees = math.isnan(learned) or learned == parts.total
    words = [f"{claim.subject}, {claim.scope}, counted from its described sizes"]
    words += [] if agrees else [f"though our runs learned {shown(learned)}, not {parts.total:,}"]
    return _compare(claim, value, words)


def against_baseline(claim: Claim, evidence: Evidence) -> Finding:
    """Judge parameters as a share of the baseline's: in percent, or as a factor."""
    mine, words = count(evidence, claim.subject)
    base, base_words = count(evidence, BASELINE)
    if claim.subject == BASELINE:
        return Finding("It is the reference: there is nothing to test.", 100.0)
    factor = 100 if claim.unit.startswith("%") else 1
    return _compare(claim, factor * mine / base, [words, base_words])


def against_conventional(claim: Claim, evidence: Evidence) -> Finding:
    """Judge the share of parameters kept, or saved, against a conventional MMoE."""
    mine, words = count(evidence, "LightMMoE")
    base, base_words = count(evidence, CONVENTIONAL)
    share = 100 * mine / base
    saved = claim.metric == "parameter reduction"
    printed = next(c for c in claims() if c.metric == "parameters" and "conventional:" in c.note)
    theirs = 100 * printed.number / float(re.sub(r"[^\d]", "", printed.note))
    notes = [
        f"The study's conventional MMoE is not described; taken as {CONVENTIONAL}",
        base_words,
        words,
    ]
    study = 100 - theirs if saved else theirs
    source = f"The study's own {printed.value} of its {printed.note.split()[-1]} give"
    value = 100 - share if saved else share
    return _compare(claim, value, notes, study=study, source=source)


def parameter_ratio(claim: Claim, evidence: Evidence) -> Finding:
    """Judge how many times the parameters of another detector one has."""
    other = claim.scope.removeprefix("vs ")
    mine, words = count(evidence, claim.subject)
    base, base_words = count(evidence, other)
    printed = [_printed_count(claim, name) for name in (claim.subject, other)]
    study, source = printed[0] / printed[1], "The study's own printed counts give"
    return _compare(claim, mine / base, [words, base_words], study=study, source=source)


def _printed_count(claim: Claim, name: str) -> float:
    return find(claim, subject=name, metric="parameters", scope="-").number


def _printed_efficiency(claim: Claim, name: str) -> float:
    score = find(claim, subject=name, metric="point_f1", scope="SMD average")
    return score.number / _printed_count(claim, name)


def _efficiency(evidence: Evidence, subject: str) -> tuple[float, float, str]:
    """Give our Point F1 in percent per parameter of what was run, its relative doubt, and words."""
    name, (column, theirs) = ours(subject), SCORES["point_f1"]
    mine = evidence.average(name, column, evidence.fleet)
    learned, words = count(evidence, name)
    if mine is None:
        return math.nan, 0.0, f"needs a run of {name} with {column}; {words}"
    reached = f"{name} reaches {shown(mine.value)} % on {len(mine.machines)} machines"
    shift = evidence.shift(theirs, mine.machines, evidence.fleet)
    doubt = shift / mine.value if mine.value else 0.0
    floor = chance(evidence, column, mine.machines).removesuffix(".")
    return mine.value / learned, doubt, f"{words}; {reached}; {floor}"


def per_parameter(claim: Claim, evidence: Evidence) -> Finding:
    """Judge Point F1 per parameter: first the study's own division, then with the real count."""
    value, doubt, words = _efficiency(evidence, claim.subject)
    study, source = _printed_efficiency(claim, claim.subject), "The study's own division gives"
    return _compare(claim, value, [words], doubt=doubt * value, study=study, source=source)


def per_parameter_ratio(claim: Claim, evidence: Evidence) -> Finding:
    """Judge how many times another's Point F1 per parameter one has."""
    other = claim.scope.removeprefix("vs ")
    mine, doubt, words = _efficiency(evidence, claim.subject)
    base, base_doubt, base_words = _efficiency(evidence, other)
    ratio = mine / base if base else math.nan
    return _compare(
        claim,
        ratio,
        [words, base_words],
        doubt=ratio * (doubt + base_doubt),
        study=_printed_efficiency(claim, claim.subject) / _printed_efficiency(claim, other),
        source="The study's own numbers give",
    )


def model_size(claim: Claim, evidence: Evidence) -> Finding:
    """Judge a model's size: its parameters as 32-bit floats, in 10^6 bytes."""
    learned, words = count(evidence, claim.subject)
    size = learned * design.FLOAT_BYTES / design.MEGABYTE
    return _compare(claim, size, [f"{words}, of {design.FLOAT_BYTES} bytes each"])


def product(claim: Claim, _: Evidence) -> Finding:
    """Recompute a number of operations from the factors printed with it."""
    value = math.prod(factors(claim.scope))
    return Finding(
        f"Recomputed from the printed factors {claim.scope}.",
        value,
        value,
        printed_range(claim),
        study=value,
        source="Its own factors give",
    )


def factors(text: str) -> list[int]:
    """Read "4 x 128^2 x 38": each factor, a power as one."""
    powers = [word.split("^") for word in text.split(" x ")]
    return [int(power[0]) ** int(power[1] if len(power) > 1 else 1) for power in powers]


def speed_up(claim: Claim, evidence: Evidence) -> Finding:
    """Recompute a speed-up from the two products that it divides."""
    light, full = (c for c in claims() if c.metric == "operations")
    ratio = product(full, evidence).value / product(light, evidence).value
    source = f"The factors of {full.id} over those of {light.id} give"
    how = f"Recomputed; the printed products alone would give {full.number / light.number:.0f}."
    return Finding(how, ratio, ratio, printed_range(claim), study=ratio, source=source)


def window_reduction(claim: Claim, _: Evidence) -> Finding:
    """Recompute a reduction in percent from the two windows printed with it."""
    short, long = map(int, re.findall(r"\d+", claim.scope))
    value = 100 * (1 - short / long)
    how = f"Recomputed from {short} and {long} rows; LightMMoE's window is {_light('window')}."
    source = "Its own windows give"
    return Finding(how, value, value, printed_range(claim), study=value, source=source)


def _light(setting: str) -> object:
    return design.DEFAULTS[setting]


def size_change(claim: Claim, _: Evidence) -> Finding:
    """Judge the change of one size against the conventional network, in percent.

    The study prints that network's width and number of experts in its count of operations;
    for its other sizes `CONVENTIONAL` stands in.
    """
    light, full = (_operation_sizes(c) for c in claims() if c.metric == "operations")
    printed = {"expert network width": 1, "number of experts": 0}
    if claim.metric in printed:
        which = printed[claim.metric]
        value = 100 * (light[which] / full[which] - 1)
        how = f"Recomputed: {light[which]} instead of {full[which]}."
        source = "The sizes in the study's own count of operations give"
        return Finding(how, value, value, printed_range(claim), study=value, source=source)
    name = {"convolution kernels": "kernels", "tower hidden units": "tower"}[claim.metric]
    mine, base = (getattr(design.SIZES[n], name) for n in ("LightMMoE", CONVENTIONAL))
    how = (
        f"The study does not print the conventional size. {CONVENTIONAL}, the published detector "
        f"of that kind, has {base}, LightMMoE {mine}."
    )
    return Finding(how, 100 * (mine / base - 1))


def _operation_sizes(claim: Claim) -> tuple[int, int]:
    """Number of experts and width, from "4 x 128^2 x ..."."""
    experts, width, *_ = factors(claim.scope)
    return experts, math.isqrt(width)
