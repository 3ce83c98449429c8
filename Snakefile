# From data to report. `make report` starts it, with a profile from params/.
#
# Snakemake decides which notebook runs: its inputs are its code (not its outputs), the module, the
# parameters and the data. What is expensive comes from the cache that lmmoe.report.runs keeps.

import json
import shlex
import sys
from functools import partial
from pathlib import Path

from lmmoe.report import ablation, params
from lmmoe.report import workflow as steps  # Snakemake has a "workflow" of its own

PROFILE_FILE = config.get("params", "params/quick.yaml")
PROFILE = params.load(PROFILE_FILE)
ENTITIES = PROFILE.present
PARAMS = shlex.quote(PROFILE_FILE)
RESULTS = f"results/{PROFILE.profile}"
FIGURES = f"figures/{PROFILE.profile}"
LMMOE = steps.package_files()
PARTS = range(len(PROFILE.passes) or 1)
RUNS = f"{RESULTS}/runs/{{part}}/{{entity}}.csv"  # a profile's passes are its parts
OF_STUDY = PROFILE.dataset == "smd"  # the study ran on nothing else
DATA = {entity: [str(file) for file in PROFILE.files(entity)] for entity in ENTITIES}
# Jobs die with Snakemake, even when it is killed: "exec" leaves no shell in between to outlive it.
COMMAND = f"exec {shlex.quote(sys.executable)} -m lmmoe"


def runs_with_work(entities):
    """Tables of the jobs that must run before anything about these entities is told.

    Which these are is known once the rule `known` has looked for rows in the published table.
    """
    with checkpoints.known.get().output[0].open() as file:
        jobs = json.load(file)
    return [RUNS.format(part=part, entity=one) for part, one in jobs if one in entities]


# The ablation's plans have files, passes and tables of runs of their own.
ABLATION = ablation.plan(PROFILE)
ABLATIONS = {plan.profile: plan for plan in ablation.whole(PROFILE)}


def ablation_data(plan, wildcards):
    """Files that hold the entity of an ablation's job, or without one all of the plan."""
    named = getattr(wildcards, "entity", None)
    entities = [named] if named else plan.present
    return [str(file) for entity in entities for file in plan.files(entity)]


def ablation_runs_with_work(wildcards):
    """Tables of the ablation's jobs that must run before its notebook."""
    found = runs_with_work(ABLATION.present)
    for name in ABLATIONS:
        with checkpoints.known_ablation.get(plan=name).output[0].open() as file:
            jobs = json.load(file)
        found += [f"results/{name}/runs/{part}/{entity}.csv" for part, entity in jobs]
    return found


def notebook(name):
    """What a notebook's rule depends on besides files."""
    code = steps.code_of(Path("notebooks", f"{name}.ipynb"))
    return {"profile": params.overrides(PROFILE), "code": code}


onsuccess:
    print(f"\nThe report: {Path(RESULTS, 'report.html').resolve()}")


rule all:
    input:
        f"{RESULTS}/report.html",


checkpoint known:
    input:
        LMMOE,
        data=sum(DATA.values(), []),
    output:
        f"{RESULTS}/runs/missing.json",
    log:
        f"{RESULTS}/runs/missing.log",
    priority: len(PARTS) + 1
    params:
        profile=params.overrides(PROFILE),
    message:
        "look which runs the published table knows"
    shell:
        "{COMMAND}.report.missing {PARAMS} {output:q}"


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
            name=["events", "event", "correlations", "shifts"],
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
        runs=lambda wildcards: runs_with_work([wildcards.entity]),
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


checkpoint known_ablation:
    input:
        LMMOE,
        "params/ablation.yaml",
        profile="params/{plan}.yaml",
        data=lambda wildcards: ablation_data(ABLATIONS[wildcards.plan], wildcards),
    output:
        "results/{plan}/runs/missing.json",
    wildcard_constraints:
        plan="ablation[a-z-]*",
    log:
        "results/{plan}/runs/missing.log",
    message:
        "look which runs the published table of {wildcards.plan} knows"
    shell:
        "{COMMAND}.report.missing {input.profile:q} {output:q}"


# After the report's own runs; pass by pass, SMD before the other data.
for number, (plan, part) in enumerate(
    (plan, part) for plan in ABLATIONS.values() for part in range(len(plan.passes) or 1)
):

    rule:
        name:
            f"{plan.profile.replace('-', '_')}_runs_{part}"
        priority: -number
        input:
            LMMOE,
            "params/ablation.yaml",
            profile=f"params/{plan.profile}.yaml",
            data=partial(ablation_data, plan),
        output:
            f"results/{plan.profile}/runs/{part}/{{entity}}.csv",
        log:
            f"results/{plan.profile}/runs/{part}/{{entity}}.log",
        params:
            part=part,
            plan=plan.profile,
        message:
            "{params.plan}: fit and score the variants on {wildcards.entity}, pass {params.part}"
        shell:
            "{COMMAND} run {input.profile:q} {wildcards.entity:q} {output:q} --part {params.part}"
            " --log {log:q}"


rule ablation:
    input:
        LMMOE,
        sorted(str(file) for file in Path("params").glob("ablation*.yaml")),
        runs=ablation_runs_with_work,
    output:
        # Not what is inside a model, nor its pictures: on data that none can be fitted to there are
        # none.
        notebook=f"{RESULTS}/03_ablation.ipynb",
        tables=f"{FIGURES}/ablation.csv",
        figures=f"{FIGURES}/ablation.png",
    log:
        f"{RESULTS}/03_ablation.log",
    params:
        **notebook("03_ablation"),
    message:
        "notebook 03, the ablation"
    shell:
        "{COMMAND} notebook {PARAMS} notebooks/03_ablation.ipynb {output.notebook:q}"
        " --figures {FIGURES}"


rule efficiency:
    input:
        LMMOE,
        runs=lambda wildcards: runs_with_work(ENTITIES),
    output:
        # Not efficiency.csv: rows that still hold are read from it, and Snakemake removes outputs
        # before it makes them anew.
        notebook=f"{RESULTS}/04_efficiency.ipynb",
        tables=expand(
            f"{FIGURES}/{{name}}.csv",
            name=["limits", "limit_points", "growth", "exponents", "fleet"],
        ),
        figures=expand(
            f"{FIGURES}/{{name}}.png",
            name=["costs", "roofline", "growth", "quality_and_measured_cost"],
        ),
    threads: workflow.cores  # all: what runs beside a measurement disturbs it
    log:
        f"{RESULTS}/04_efficiency.log",
    params:
        **notebook("04_efficiency"),
    message:
        "notebook 04, what detectors cost"
    shell:
        "{COMMAND} notebook {PARAMS} notebooks/04_efficiency.ipynb {output.notebook:q}"
        " --figures {FIGURES}"


rule pitfalls:
    input:
        LMMOE,
        runs=lambda wildcards: runs_with_work(ENTITIES),
    output:
        # Not pitfalls_amad.csv, which only profiles with AMAD have.
        notebook=f"{RESULTS}/06_evaluation_pitfalls.ipynb",
        tables=expand(f"{FIGURES}/{{name}}.csv", name=["pitfalls", "pitfalls_settings"]),
        figures=expand(
            f"{FIGURES}/{{name}}.png",
            name=["pitfalls", "pitfalls_settings", "pitfalls_adjustment"],
        ),
    log:
        f"{RESULTS}/06_evaluation_pitfalls.log",
    params:
        **notebook("06_evaluation_pitfalls"),
    message:
        "notebook 06, mistakes made on purpose"
    shell:
        "{COMMAND} notebook {PARAMS} notebooks/06_evaluation_pitfalls.ipynb {output.notebook:q}"
        " --figures {FIGURES}"


rule deployment:
    input:
        LMMOE,
        runs=lambda wildcards: runs_with_work(ENTITIES),
        measured=rules.efficiency.output if OF_STUDY else [],  # the audit takes it
    output:
        # Not live, live_steps, compression and new_machine, which are read back.
        notebook=f"{RESULTS}/07_deployment.ipynb",
        table=f"{FIGURES}/deployment_choice.csv",
        figures=expand(
            f"{FIGURES}/deployment_{{name}}.png",
            name=["alarm", "steps", "compression", "newcomers"],
        ),
    threads: workflow.cores  # as notebook 04
    log:
        f"{RESULTS}/07_deployment.log",
    params:
        **notebook("07_deployment"),
    message:
        "notebook 07, deployment"
    shell:
        "{COMMAND} notebook {PARAMS} notebooks/07_deployment.ipynb {output.notebook:q}"
        " --figures {FIGURES}"


rule comparison:
    input:
        LMMOE,
        runs=lambda wildcards: runs_with_work(ENTITIES),
        # The audit of the study's claims takes what these publish.
        measured=[*rules.ablation.output, *rules.efficiency.output, *rules.deployment.output]
        if OF_STUDY
        else [],
    output:
        # Not runs.csv, rescoring.csv and generalisation.csv, which are read back: Snakemake removes
        # outputs before it makes them anew.
        notebook=f"{RESULTS}/05_comparison.ipynb",
        tables=expand(
            f"{FIGURES}/{{name}}.csv",
            name=[
                "honest",
                "summary",
                "significance",
                "hard_events",
                *(["study_headline", "study_by_machine", "others", "claims"] if OF_STUDY else []),
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
                "rescoring",
                "scores",
                "events_found",
                "events_of_all",
                "found_by",
                *(["study", "study_differences", "claims", "claims_f1"] if OF_STUDY else []),
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
        rules.ablation.output,
        rules.efficiency.output,
        rules.comparison.output,
        rules.pitfalls.output,
        rules.deployment.output,
    output:
        f"{RESULTS}/report.html",
    message:
        "the page"
    shell:
        "{COMMAND} page {PARAMS} {output:q}"
