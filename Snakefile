# From data to report. `make report` starts it, with a profile from params/.
#
# Snakemake decides which notebook runs: its inputs are its code (not its outputs), the module, the
# parameters and the data. What is expensive comes from the cache that lmmoe.runs keeps.

import shlex
import sys
from pathlib import Path

from lmmoe import params
from lmmoe import workflow as steps  # Snakemake has a "workflow" of its own

PROFILE_FILE = config.get("params", "params/quick.yaml")
PROFILE = params.load(PROFILE_FILE)
ENTITIES = PROFILE.present
PARAMS = shlex.quote(PROFILE_FILE)
RESULTS = f"results/{PROFILE.profile}"
FIGURES = f"figures/{PROFILE.profile}"
LMMOE = steps.package_files()
PARTS = range(len(PROFILE.passes) or 1)
RUNS = f"{RESULTS}/runs/{{part}}/{{entity}}.csv"  # a profile's passes are its parts
DATA = {entity: [str(file) for file in PROFILE.files(entity)] for entity in ENTITIES}
# Jobs die with Snakemake, even when it is killed: "exec" leaves no shell in between to outlive it.
COMMAND = f"exec {shlex.quote(sys.executable)} -m lmmoe"


def notebook(name):
    """What a notebook's rule depends on besides files."""
    code = steps.code_of(Path("notebooks", f"{name}.ipynb"))
    return {"profile": params.overrides(PROFILE), "code": code}


onsuccess:
    print(f"\nThe report: {Path(RESULTS, 'report.html').resolve()}")


rule all:
    input:
        f"{RESULTS}/report.html",


# One rule per pass, for the priority: a pass begins once nothing of an earlier one is waiting.
for number in PARTS:

    rule:
        name:
            f"runs_{number}"
        priority: len(PARTS) - number
        input:
            LMMOE,
            data=lambda wildcards: DATA[wildcards.entity],
        output:
            RUNS.format(part=number, entity="{entity}"),
        log:
            f"{RESULTS}/runs/{number}/{{entity}}.log",
        params:
            profile=params.overrides(PROFILE),
            part=number,
        message:
            "fit and score the detectors on {wildcards.entity}, pass {params.part}"
        shell:
            "{COMMAND} run {PARAMS} {wildcards.entity:q} {output:q} --part {params.part}"
            " --log {log:q}"


rule data_exploration:
    input:
        LMMOE,
        data=sum(DATA.values(), []),
    output:
        notebook=f"{RESULTS}/01_data_exploration.ipynb",
        table=f"{FIGURES}/data.csv",
        figures=expand(
            f"{FIGURES}/{{name}}.png",
            name=["events", "channels", "event", "correlations", "shifts"],
        ),
    log:
        f"{RESULTS}/01_data_exploration.log",
    params:
        **notebook("01_data_exploration"),
    message:
        "notebook 01, the data"
    shell:
        "{COMMAND} notebook {PARAMS} notebooks/01_data_exploration.ipynb {output.notebook:q}"
        " --figures {FIGURES}"


rule training:
    input:
        LMMOE,
        data=lambda wildcards: DATA[wildcards.entity],
        runs=expand(RUNS, part=PARTS, allow_missing=True),
    output:
        # Its figures lie in a folder beside it; an entity that no model can be fitted to has none.
        notebook=f"{RESULTS}/02_training/{{entity}}.ipynb",
    log:
        f"{RESULTS}/02_training/{{entity}}.log",
    params:
        **notebook("02_training"),
    message:
        "notebook 02, training on {wildcards.entity}"
    shell:
        "{COMMAND} notebook {PARAMS} notebooks/02_training.ipynb {output.notebook:q}"
        " --figures {RESULTS}/02_training/{wildcards.entity:q} --entity {wildcards.entity:q}"


rule comparison:
    input:
        LMMOE,
        runs=expand(RUNS, part=PARTS, entity=ENTITIES),
    output:
        # Not runs.csv: it accumulates, and Snakemake removes outputs before it makes them anew.
        notebook=f"{RESULTS}/05_comparison.ipynb",
        tables=expand(
            f"{FIGURES}/{{name}}.csv",
            name=[
                "honest",
                "summary",
                "significance",
                "study_headline",
                "study_by_machine",
                *(["claims"] if PROFILE.dataset == "smd" else []),
            ],
        ),
        figures=expand(
            f"{FIGURES}/{{name}}.png",
            name=[
                "forest",
                "ranks",
                "adjustment",
                "by_entity",
                "quality_and_cost",
                "scores",
                "events_found",
                "study",
                "study_differences",
                "claims",
                "claims_f1",
            ],
        ),
        provenance=f"{FIGURES}/provenance.json",
    log:
        f"{RESULTS}/05_comparison.log",
    params:
        **notebook("05_comparison"),
    message:
        "notebook 05, the comparison"
    shell:
        "{COMMAND} notebook {PARAMS} notebooks/05_comparison.ipynb {output.notebook:q}"
        " --figures {FIGURES}"


rule page:
    input:
        LMMOE,
        rules.data_exploration.output,
        expand(rules.training.output.notebook, entity=ENTITIES),
        rules.comparison.output,
    output:
        f"{RESULTS}/report.html",
    message:
        "the page"
    shell:
        "{COMMAND} page {PARAMS} {output:q}"
