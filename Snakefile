# From data to report. `make report` starts it, with a profile from params/.
#
#   run (an entity) -> collect (figures/NAME/runs.csv) -> notebooks -> page
#
# What is expensive is kept by lmmoe.report.store: a job whose rows are published computes nothing.

import shlex
import sys
from pathlib import Path

from lmmoe.report import execute, profile

FILE = config.get("params", "params/quick.yaml")
PROFILE = profile.load(FILE)
RESULTS = f"results/{PROFILE.profile}"
FIGURES = f"figures/{PROFILE.profile}"
# Each profile that has runs of its own, with its file.
PROFILES = {each.profile: (f"params/{each.profile}.yaml", each) for each in execute.with_runs(PROFILE)}
PROFILES |= {PROFILE.profile: (FILE, PROFILE)}
MODULE = execute.code_of_module()  # any change makes every job anew
# Jobs die with Snakemake, even when it is killed: "exec" leaves no shell in between to outlive it.
COMMAND = f"exec {shlex.quote(sys.executable)} -m lmmoe"
NOTEBOOKS = [
    "00_summary",
    "01_data_exploration",
    "03_ablation",
    "04_efficiency",
    "05_comparison",
    "06_evaluation_pitfalls",
    "07_deployment",
]
COLLECTED = [f"figures/{name}/runs.csv" for name in PROFILES]
# On SMD the study's claims take what other notebooks have written before.
AFTER = ["03_ablation", "04_efficiency", "07_deployment"] if PROFILE.dataset == "smd" else []
# What runs beside a measurement disturbs it; on synthetic data it shows the way and counts little.
MEASURING = [] if PROFILE.dataset == "synthetic" else ["04_efficiency", "07_deployment"]


def data_of(wildcards):
    """Files that hold the entity of a job."""
    return [str(file) for file in PROFILES[wildcards.profile][1].files(wildcards.entity)]


def notebook_inputs(wildcards):
    """What a notebook reads besides the data."""
    if wildcards.name == "01_data_exploration":
        return []
    others = AFTER if wildcards.name in ("00_summary", "05_comparison") else []
    return [*COLLECTED, *(f"{RESULTS}/{name}.ipynb" for name in others)]


onsuccess:
    for reason in PROFILE.unreadable.values():
        print(f"\nLeft out: {reason}")
    print(f"\nThe report: {Path(RESULTS, 'report.html').resolve()}")


rule all:
    input:
        f"{RESULTS}/report.html",


rule run:
    input:
        params=lambda wildcards: PROFILES[wildcards.profile][0],
        data=data_of,
    output:
        "results/{profile}/runs/{entity}.csv",
    log:
        "results/{profile}/runs/{entity}.log",
    params:
        module=MODULE,
    priority: 2  # all else waits for it
    message:
        "fit and score the detectors of {wildcards.profile} on {wildcards.entity}"
    shell:
        "{COMMAND} run {input.params:q} {wildcards.entity:q} {output:q} --log {log:q}"


rule collect:
    input:
        lambda wildcards: [
            f"results/{wildcards.profile}/runs/{entity}.csv"
            for entity in PROFILES[wildcards.profile][1].present
        ],
    output:
        update("figures/{profile}/runs.csv"),
    message:
        "collect the runs of {wildcards.profile}"
    shell:
        "{COMMAND} collect {output:q} {input:q}"


rule notebook:
    input:
        notebook_inputs,
        params=FILE,
        data=[str(file) for entity in PROFILE.present for file in PROFILE.files(entity)],
    output:
        # Its figures and tables lie under figures/; they are kept, whatever becomes of this rule.
        f"{RESULTS}/{{name}}.ipynb",
    wildcard_constraints:
        name="|".join(NOTEBOOKS),
    log:
        f"{RESULTS}/{{name}}.log",
    params:
        module=MODULE,
        code=lambda wildcards: execute.code_of(f"notebooks/{wildcards.name}.ipynb"),
    threads: lambda wildcards: workflow.cores if wildcards.name in MEASURING else 1
    priority: 1  # the longer ones first
    message:
        "notebook {wildcards.name}"
    shell:
        "{COMMAND} notebook {input.params:q} notebooks/{wildcards.name}.ipynb {output:q}"
        " --figures {FIGURES}"


rule training:
    input:
        f"results/{PROFILE.profile}/runs/{{entity}}.csv",
        params=FILE,
    output:
        f"{RESULTS}/02_training/{{entity}}.ipynb",
    log:
        f"{RESULTS}/02_training/{{entity}}.log",
    params:
        module=MODULE,
        code=execute.code_of("notebooks/02_training.ipynb"),
    message:
        "notebook 02_training on {wildcards.entity}"
    shell:
        "{COMMAND} notebook {input.params:q} notebooks/02_training.ipynb {output:q}"
        " --figures {RESULTS}/02_training/{wildcards.entity:q} --entity {wildcards.entity:q}"


rule page:
    input:
        expand(f"{RESULTS}/{{name}}.ipynb", name=NOTEBOOKS),
        expand(f"{RESULTS}/02_training/{{entity}}.ipynb", entity=PROFILE.present),
        params=FILE,
    output:
        f"{RESULTS}/report.html",
    params:
        module=MODULE,
    message:
        "the page"
    shell:
        "{COMMAND} page {input.params:q} {output:q}"
