"""How detectors, metrics and costs are called where people read, and what belongs together."""

LABEL = " / "  # between a detector's name and what tells its settings from others
TITLES = {"MTSExample": "L2 norm (MTSExample)", "random": "random scores"}
TITLES |= {"pyod.models.ecod.ECOD": "ECOD (PyOD)"}

# Okabe and Ito's colours, which people with colour blindness tell apart; one per family, since
# nobody tells 28 colours apart.
FAMILIES = {
    "our own": "#E69F00",
    "the study's networks": "#0072B2",
    "the study's simple ones": "#D55E00",
    "simple ones added here": "#009E73",
    "controls: chance, nothing learned": "#7F7F7F",
    "others": "#CC79A7",
}
# For what is no family: the same colours, purple in place of their pale yellow, and grey.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#7A5195", "#7F7F7F")
_OWN, _NETWORKS, _STUDY_SIMPLE, _ADDED, _CONTROLS, _OTHERS = FAMILIES
FAMILY_OF = {
    **dict.fromkeys(("ThreeViews", "ThreeViews + D", "ThreeViews prompt"), _OWN),
    **dict.fromkeys(("LightMMoE", "CAD", "CAD-as-run", "CAD-FSE23", "HMMoE"), _NETWORKS),
    **dict.fromkeys(("MTSMixer", "MTSMixerLighter", "USAD", "LSTM-AE"), _NETWORKS),
    **dict.fromkeys(("AMAD", "AMAD-corrected", "OmniAnomaly"), _NETWORKS),
    **dict.fromkeys(("MTSExample", "SmartSimpleAD", "IsolationForest"), _STUDY_SIMPLE),
    **dict.fromkeys(("L2 min-max", "range deviation", "1-NN", "k-means", "linear"), _ADDED),
    **dict.fromkeys(("PCA", "PCA z-score", "PCA windows", "PCA windows EWMA"), _ADDED),
    **dict.fromkeys(("last value", "moving average", "ridge VAR"), _ADDED),
    **dict.fromkeys(("random", "row index", "untrained LightMMoE"), _CONTROLS),
}
# They smooth with later rows, or scale or rank a row among all rows that are scored together.
NON_CAUSAL = ("SmartSimpleAD", "AMAD", "MTSMixer", "MTSMixerLighter", "pyod.models.ecod.ECOD")

# Of those that people read; what point adjustment flatters comes last.
METRIC_TITLES = {
    "average_precision": "average precision",
    "roc_auc": "ROC AUC",
    "vus_pr": "VUS-PR",
    "vus_roc": "VUS-ROC",
    "best_f1": "best F1",
    "best_affiliation_f1": "best affiliation F1",
    "quantile_f1": "F1, quantile",
    "pot_f1": "F1, POT",
    "budget_f1": "F1, alarm budget",
    "pa_k_area": "PA%K area",
    "event_f1_pa_squeeze": "Event F1 squeeze (PA)",
    "event_f1_pa_log": "Event F1 log (PA)",
    "event_f1_pa_sqrt": "Event F1 sqrt (PA)",
    "delay10_f1_pa": "Point F1, first 10 rows (PA)",
    "point_precision_pa": "Point precision (PA)",
    "point_recall_pa": "Point recall (PA)",
    "point_f1_pa": "Point F1 (PA)",
}
# Under the alarm rule that is the default (`lmmoe.report.deployment`).
OPERATORS = {
    "announced": "events announced",
    "false_alarms_per_day": "false alarms a day",
    "share": "normal time in alarm",
}
COST_TITLES = {
    "train_seconds": "train (s)",
    "score_seconds": "score (s)",
    "microseconds_per_row": "score a row (µs)",
    "train_peak_mb": "memory (MB)",
    "latency_p50_ms": "one row alone (ms)",
    "multiply_adds": "multiply-adds a row",
    "learned_bytes": "learned (bytes)",
    "a_year": "fleet, a year, row by row",
    "a_year_batch": "fleet, a year, 256 rows a call",
} | {name: name for name in ("parameters", "entities", "seeds", "runs", "failed")}
OTHER_TITLES = {name: name for name in ("difference", "wins", "ties", "losses", "p")}
OTHER_TITLES |= {"holm_p": "p (Holm)", "seen": "error, seen", "unseen": "error, unseen"}
OTHER_TITLES |= {"chance": "announced by chance", "delay": "delay (min)"}

# Of the study's claims.
REPRODUCED, BETTER, WORSE = "reproduced", "better than claimed", "worse than claimed"
CONTRADICTED, UNTESTABLE = "contradicted within the study", "not testable here"
VERDICTS = (REPRODUCED, BETTER, WORSE, CONTRADICTED, UNTESTABLE)


def detector_of(name: str) -> str:
    """Give the detector that a name in a profile means: what stands before a label."""
    return name.partition(LABEL)[0]


def title(detector: str) -> str:
    """Return how a detector is called in figures and tables that people read."""
    return TITLES.get(detector, detector)


def family(detector: str) -> str:
    """Return the family of a detector, a key of `FAMILIES`; whoever is not known is of "others"."""
    return FAMILY_OF.get(detector_of(detector), _OTHERS)


def colour(detector: str) -> str:
    """Return the colour of a detector's family, the same in every figure."""
    return FAMILIES[family(detector)]
