# From data to report. `make report` starts it, with a profile from params/:
#   run (an entity) -> collect (figures/NAME/runs.csv) -> notebooks -> page
# What is expensive is kept by lmmoe.report.store: a job whose rows are published computes nothing.
# To Snakemake an entity is its plain name, and the data are a digest: names may hold any sign.

import atexit
import shlex
import sys
from pathlib import Path

from lmmoe import paths
from lmmoe.report import execute, profile

FILE = config.get("params", "params/quick.yaml")
PROFILE = profile.load(FILE)
RESULTS = f"results/{PROFILE.profile}"
# Each profile that has runs of its own, with its file.
PROFILES = {each.profile: (f"params/{each.profile}.yaml", each) for each in execute.with_runs(PROFILE)}
PROFILES |= {PROFILE.profile: (FILE, PROFILE)}
# Any change of the module makes every job anew.
CODE = execute.digest(*sorted(x for x in Path("lmmoe").rglob("*") if x.suffix not in ("", ".pyc")))
# Jobs die with Snakemake, even when it is killed: "exec" leaves no shell in between to outlive it.
COMMAND = f"exec {shlex.quote(sys.executable)} -m lmmoe"
NOTEBOOKS = {book.stem for book in Path("notebooks").glob("0*.ipynb")} - {*PROFILE.left_out}
NOTEBOOKS = sorted(NOTEBOOKS - {"02_training"})  # that is executed for each entity
COLLECTED = [f"figures/{name}/runs.csv" for name in PROFILES]
# On SMD the study's claims take what other notebooks have written before.
AFTER = ["03_ablation", "04_efficiency", "07_deployment"] if PROFILE.dataset == "smd" else []
# What runs beside a measurement disturbs it; on synthetic data it shows the way and counts little.
MEASURING = [] if PROFILE.dataset == "synthetic" else ["04_efficiency", "07_deployment"]
localrules: collect, page  # seconds


def tables(name):
    """The tables of a profile's jobs. It is not asked for where a job runs on another machine."""
    each = map(paths.plain, PROFILES[name][1].present)
    return [f"results/{name}/runs/{entity}.csv" for entity in each]


def notebook_inputs(wildcards):
    """What a notebook reads of what other jobs wrote."""
    others = AFTER if wildcards.name in ("00_summary", "05_comparison") else []
    written = [*COLLECTED, *sum(map(tables, PROFILES), [])]
    written += [f"{RESULTS}/{name}.ipynb" for name in others]
    return [] if wildcards.name == "01_data_exploration" else written


def read_by(wildcards):
    """What else a job depends on: code, the profile, and the data of one entity or of all."""
    made = PROFILES[wildcards.get("profile", PROFILE.profile)][1]
    entities = [made.named(wildcards.entity)] if "entity" in wildcards.keys() else made.present
    files = [file for entity in entities for file in made.files(entity)]
    return [CODE, made.model_dump_json(), *map(execute.digest, files)]


onstart:
    execute.follow(PROFILES)


# The last lines, after Snakemake's own.
onsuccess:
    for reason in PROFILE.unreadable.values():
        atexit.register(print, f"Left out: {reason}")
    atexit.register(print, f"\nThe report: {Path(RESULTS, 'report.html').resolve()}")


onerror:
    failed = ", ".join(map(str, Path(RESULTS).rglob("*.failed.ipynb")))
    atexit.register(print, f"error: no report: {failed or 'a job failed, see above'}")


rule run:
    output:
        "results/{profile}/runs/{entity}.csv",
    log:
        "results/{profile}/runs/{entity}.log",
    params:
        read=read_by,
        file=lambda wildcards: PROFILES[wildcards.profile][0],
    priority: 2  # all else waits for it
    message:
        "fit and score the detectors of {wildcards.profile} on {wildcards.entity}"
    shell:
        "{COMMAND} run {params.file:q} {wildcards.entity:q} {output:q} --log {log:q}"


rule collect:
    input:
        lambda wildcards: tables(wildcards.profile),
    output:
        update("figures/{profile}/runs.csv"),
    message:
        "collect the runs of {wildcards.profile}"
    shell:
        "{COMMAND} collect {output:q} {input:q}"


rule notebook:
    input:
        notebook_inputs,
    output:
        # Its figures and tables lie under figures/; they are kept, whatever becomes of this rule.
        f"{RESULTS}/{{name}}.ipynb",
    wildcard_constraints:
        name="|".join(name for name in NOTEBOOKS if name not in MEASURING),
    params:
        read=read_by,
        code=lambda wildcards: execute.code_of(f"notebooks/{wildcards.name}.ipynb"),
    priority: 1  # the longer ones first
    message:
        "notebook {wildcards.name}"
    shell:
        "{COMMAND} notebook {FILE:q} notebooks/{wildcards.name}.ipynb {output:q}"
        " --figures figures/{PROFILE.profile}"


use rule notebook as measurement with:
    wildcard_constraints:
        name="|".join(MEASURING) or "none",
    threads: 10**6  # all that there are: alone


rule training:
    input:
        f"results/{PROFILE.profile}/runs/{{entity}}.csv",
    output:
        f"{RESULTS}/02_training/{{entity}}.ipynb",
    params:
        read=read_by,
        code=execute.code_of("notebooks/02_training.ipynb"),
    message:
        "notebook 02_training on {wildcards.entity}"
    shell:
        "{COMMAND} notebook {FILE:q} notebooks/02_training.ipynb {output:q}"
        " --figures {RESULTS}/02_training/{wildcards.entity:q} --entity {wildcards.entity:q}"


rule page:
    default_target: True
    input:
        expand(f"{RESULTS}/{{name}}.ipynb", name=NOTEBOOKS),
        lambda _: [f"{RESULTS}/02_training/{paths.plain(each)}.ipynb" for each in PROFILE.present],
    output:
        f"{RESULTS}/report.html",
    params:
        read=read_by,
    message:
        "the page"
    shell:
        "{COMMAND} page {FILE:q} {output:q}"
