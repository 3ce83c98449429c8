"""A made-up table of costs, with limits and growth to go with it."""

import math

import pandas as pd

from lmmoe.report import compress
from lmmoe.report.cost import COLUMNS, exponents
from lmmoe.report.roofline import held_to

HEAD = {"dataset": "smd", "entity": "machine-1-1", "device": "a processor"}
NAMES = ("LightMMoE", "MTSExample", "random", "HMMoE")


def costs(**changes):
    """Four detectors and one that failed; all costs of LightMMoE but a few are 10."""
    lines = []
    for name, times in zip(NAMES, (1.0, 0.01, 0.001, 40.0), strict=True):
        line = HEAD | {"detector": name, "train_rows": 28479, "channels": 38, "score_rows": 1000}
        line |= {f"{p}_{n}": 10 * times for p in ("train", "score") for n in SECONDS}
        line |= {f"{p}_repeats": 3 for p in ("train", "score")}
        line |= {f"{p}_spread": 0.25 for p in ("train", "score")}
        line |= {"latency_p50_ms": 0.5 * times, "latency_p99_ms": times, "latency_calls": 100}
        line |= {f"rows_per_second_{b}": 1000 * b / times for b in (1, 16, 256, 4096)}
        line |= {"train_peak_mb": 60.0, "inference_mb": 8.0, "process_mb": 300.0}
        line |= {"model_bytes": 1e6, "learned_bytes": 5e5, "rescales": False}
        line |= {"parameters": 232390, "multiply_adds": 259552.0}
        lines.append(line)
    lines[2] |= {"parameters": 0, "multiply_adds": math.nan}
    lines.append(HEAD | {"detector": "PCA", "error": "MemoryError: none left"})
    table = pd.DataFrame(lines).reindex(columns=list(COLUMNS)).set_index("detector")
    return table.assign(**changes)


SECONDS = ("seconds", "wall_seconds")


def limits():
    """Points and limits of a processor of 100 GFLOP/s that reads 20 GB/s, 10 from memory."""
    works = {"network": 1, "detector": 2, "training": 3}
    points = [
        {
            "work": work,
            "batch": batch,
            "operations": 1e8 * batch * times,
            "bytes": 1e7,
            # Ten times the least for a row alone, twice for many.
            "seconds": (10 if batch == 1 else 2) * max(1e-3 * batch * times, 5e-4),
        }
        for work, times in works.items()
        for batch in (1, 64, 4096)
    ]
    sizes = ((232390 * 4 / 1e6, 20.0), (3.7, 20.0), (268.0, 10.0))
    found = [{"limit": "sgemm", "gflops": 100.0, "megabytes": 4.0}]
    found += [
        {"limit": "sgemv", "gflops": math.nan, "megabytes": mb, "gigabytes_per_second": rate}
        for mb, rate in sizes
    ]
    points, found = pd.DataFrame(points).set_index(["work", "batch"]), pd.DataFrame(found)
    return held_to(points, found), found


def growth():
    """Two detectors on two axes: training by the square, scoring in proportion."""
    points = pd.DataFrame(
        {"axis": axis, "detector": name, "value": size, "train_seconds": 1e-3 * size**2}
        | {"score_seconds": 1e-4 * size, "multiply_adds": math.nan if name == "PCA" else size}
        for axis in ("channels", "rows")
        for name in ("LightMMoE", "PCA")
        for size in (10, 100, 1000)
    )
    return points, exponents(points)


def compressed_models():
    """What ways to make a network smaller keep, as `lmmoe.report.compress.table` tells it."""
    lines = [
        ("HMMoE", "as it is", "HMMoE", 1000, 4000, 0.4, 0.9, 100.0, 1.0),
        ("HMMoE", "pruning", "half of the experts", 400, 1600, 0.3, 0.81, 50.0, 2.0),
        ("HMMoE", "pruning", "units, not trained on", 100, 400, 0.1, 0.1, 50.0, 2.0),
        ("HMMoE", "int8", "int8, dynamic", 1000, 1000, 0.4, 0.9, 200.0, 0.5),
        ("HMMoE", "distillation", "taught", 300, 1200, 0.5, 0.45, 25.0, 4.0),
        ("HMMoE", "design", "LightMMoE in its place", 75, 300, 0.2, 0.9, 10.0, 10.0),
        ("HMMoE", "design", "extremely light in its place", 10, 40, 0.1, 0.1, 1.0, 20.0),
        ("LightMMoE", "as it is", "LightMMoE", 75, 300000, 0.2, 0.9, 10.0, 1.0),
        ("", "control", "random", 0, math.nan, 0.1, 0.72, math.nan, math.nan),
    ]
    names = ["base", "kind", "method", "parameters", "bytes", "average_precision", "point_f1_pa"]
    table = pd.DataFrame(lines, columns=[*names, "score_us", "speed"])
    table = table.assign(entity="m", best_f1=0.5, event_f1_pa_log=0.5, event_f1_pa_squeeze=0.5)
    return table.reindex(columns=list(compress.COLUMNS))
