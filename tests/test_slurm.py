"""The workflow on a real Slurm of one node, whose daemon is killed in between."""

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
from getpass import getuser

import pandas as pd
import psutil
import pytest
from test_workflow import PATIENCE, copy_of_the_project, wait_until

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol")
PLUGIN = "snakemake_executor_plugin_slurm"
PATH = f"{os.environ['PATH']}:/usr/sbin"  # of the daemons, on Debian
MISSING = [name for name in PROGRAMS if not shutil.which(name, path=PATH)]
MISSING += [] if importlib.util.find_spec(PLUGIN) else [PLUGIN]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")
CONFIGURATION = """
ClusterName=test
SlurmctldHost=localhost(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthInfo=socket={home}/munge.socket
StateSaveLocation={home}/state
SlurmdSpoolDir={home}/spool
SlurmctldPidFile={home}/slurmctld.pid
SlurmdPidFile={home}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
JobRequeue=0
SlurmdTimeout=5
SlurmdParameters=config_overrides
NodeName=localhost NodeAddr=127.0.0.1 CPUs={cores} RealMemory=64000
PartitionName=all Nodes=localhost Default=YES
"""
TINY = "entities: [web-1, db-1]\ndetectors: {MTSExample: {}, PCA: {}}\nprotocols: [ours]\n"


class Cluster:
    """Slurm with a configuration of its own, in which no other Slurm here takes part."""

    def __init__(self, home):
        self.home, self.daemons = home, {}
        with socket.socket() as one, socket.socket() as other:
            for each in (one, other):
                each.bind(("127.0.0.1", 0))
            ports = [each.getsockname()[1] for each in (one, other)]
        given = {"home": home, "user": getuser(), "ports": ports, "cores": os.cpu_count()}
        (home / "slurm.conf").write_text(CONFIGURATION.format(**given))
        for folder in ("state", "spool"):
            (home / folder).mkdir()
        (home / "munge.key").write_bytes(os.urandom(128))
        (home / "munge.key").chmod(0o600)
        (home / "bin").mkdir()  # the plugin takes SLURM_CONF from the environment of srun
        srun = f'export SLURM_CONF={home}/slurm.conf\nexec {shutil.which("srun")} "$@"\n'
        (home / "bin" / "srun").write_text(f"#!/bin/sh\n{srun}")
        (home / "bin" / "srun").chmod(0o755)
        self.environment = os.environ | {"PATH": f"{home / 'bin'}:{PATH}"}
        self.environment |= {"SLURM_CONF": str(home / "slurm.conf")}

    def start(self, *words):
        with (self.home / f"{words[0]}.log").open("a") as log:
            out = {"stdout": log, "stderr": log}
            self.daemons[words[0]] = subprocess.Popen(words, env=self.environment, **out)

    def begin(self):
        names = ("key-file", "socket", "pid-file", "log-file", "seed-file")
        files = [f"--{name}={self.home}/munge.{name.removesuffix('-file')}" for name in names]
        self.start("munged", "--foreground", "--force", *files)
        wait_until((self.home / "munge.socket").exists)
        self.start("slurmctld", "-D")
        self.start("slurmd", "-D")
        wait_until(lambda: " State=IDLE" in self.said("scontrol", "show", "node"))

    def said(self, *words):
        done = subprocess.run(words, env=self.environment, capture_output=True, text=True)
        return done.stdout

    def jobs(self):
        """The scripts of jobs that run."""
        found = psutil.process_iter(["cmdline"])
        return [one for one in found if str(self.home / "spool") in str(one.info["cmdline"])]

    def kill_node(self):
        """Kill the daemon and its jobs, as when a node loses its power."""
        self.daemons["slurmd"].kill()
        self.daemons["slurmd"].wait()
        for job in self.jobs():
            for process in [job.parent(), job, *job.children(recursive=True)]:
                process.kill()

    def end(self):
        if "slurmd" in self.daemons:
            self.kill_node()
        for daemon in self.daemons.values():
            daemon.kill()
            daemon.wait()


@pytest.fixture
def cluster(tmp_path):
    made = Cluster(tmp_path)
    try:
        made.begin()
        yield made
    finally:
        made.end()


def test_a_report_outlives_its_node_and_says_the_same(cluster, tmp_path):
    home = tmp_path / "project #1"
    copy_of_the_project(home, TINY)
    environment = cluster.environment | {"PYTHONPATH": str(home), "LMMOE_CACHE": "results/cache"}
    files = ["--", "figures/tiny/runs.csv", "results/tiny/01_data_exploration.ipynb"]
    said = tmp_path / "said"

    def start(*words):
        words = [sys.executable, "-m", "snakemake", *words, "--config", "params=params/tiny.yaml"]
        with said.open("a") as log:
            out = {"stdout": log, "stderr": log, "cwd": home, "env": environment}
            return subprocess.Popen([*words, *files], **out)

    quick = ("--slurm-init-seconds-before-status-checks", "2")
    running = start("--profile", "profiles/slurm", *quick)
    try:
        wait_until(lambda: cluster.jobs() or running.poll() is not None)
        assert running.poll() is None, said.read_text()
        cluster.kill_node()
        wait_until(lambda: " State=DOWN" in cluster.said("scontrol", "show", "node"))
        cluster.start("slurmd", "-D")
        assert running.wait(PATIENCE) == 0, said.read_text()
    finally:
        running.kill()
    assert "NODE_FAIL" in said.read_text()
    assert (home / "results" / "tiny" / "01_data_exploration.ipynb").is_file()
    table = home / "figures" / "tiny" / "runs.csv"
    rows = pd.read_csv(table)
    table.unlink()
    shutil.rmtree(home / "results")
    assert start("--cores", "2").wait(PATIENCE) == 0, said.read_text()
    here = pd.read_csv(table)
    spent = ["train_seconds", "train_peak_mb", "score_seconds"]
    assert len(rows) == 6 and rows["error"].isna().all()
    pd.testing.assert_frame_equal(rows.drop(columns=spent), here.drop(columns=spent))
