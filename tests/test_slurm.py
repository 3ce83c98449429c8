"""The workflow on a real Slurm of one node, whose daemon is killed in between."""

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from getpass import getuser
from pathlib import Path

import pandas as pd
import psutil
import pytest

ROOT = Path(__file__).parent.parent
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
AuthType=auth/munge
AuthInfo=socket={home}/munge.socket
CredType=cred/munge
StateSaveLocation={home}/state
SlurmdSpoolDir={home}/spool
SlurmctldPidFile={home}/slurmctld.pid
SlurmdPidFile={home}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
JobRequeue=0
SlurmdTimeout=5
SlurmdParameters=config_overrides
NodeName=localhost NodeAddr=127.0.0.1 CPUs={cores} RealMemory=64000
PartitionName=all Nodes=localhost Default=YES MaxTime=INFINITE OverSubscribe=NO
"""
TINY = "entities: [web-1, db-1]\ndetectors: {MTSExample: {}, PCA: {}}\nprotocols: [ours]\n"
PATIENCE = 300  # seconds until something hangs


def wait_until(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it hangs"
        time.sleep(0.2)


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
        names = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log"}
        names |= {"seed-file": "seed"}
        files = [f"--{option}={self.home}/munge.{name}" for option, name in names.items()]
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
    for name in ("lmmoe", "notebooks", "params", "profiles"):
        shutil.copytree(ROOT / name, home / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Snakefile", home)
    (home / "params" / "tiny.yaml").write_text(TINY)
    environment = cluster.environment | {"PYTHONPATH": str(home)}
    environment |= {"LMMOE_CACHE": str(tmp_path / "cache")}

    def start(*words):
        words = [sys.executable, "-m", "snakemake", *words, "--config", "params=params/tiny.yaml"]
        words += ["--", "figures/tiny/runs.csv", "results/tiny/01_data_exploration.ipynb"]
        with (tmp_path / "said").open("a") as log:
            out = {"stdout": log, "stderr": log}
            return subprocess.Popen(words, cwd=home, env=environment, **out)

    quick = ("--slurm-init-seconds-before-status-checks", "2")
    running = start("--profile", "profiles/slurm", *quick)
    try:
        wait_until(lambda: cluster.jobs() or running.poll() is not None)
        assert running.poll() is None, (tmp_path / "said").read_text()
        cluster.kill_node()
        wait_until(lambda: " State=DOWN" in cluster.said("scontrol", "show", "node"))
        cluster.start("slurmd", "-D")
        status = running.wait(PATIENCE)
    finally:
        if running.poll() is None:
            running.send_signal(signal.SIGINT)
            running.wait(PATIENCE)
    assert status == 0, (tmp_path / "said").read_text()
    assert (home / "results" / "tiny" / "01_data_exploration.ipynb").is_file()
    rows = pd.read_csv(home / "figures" / "tiny" / "runs.csv")
    (home / "figures" / "tiny" / "runs.csv").unlink()
    shutil.rmtree(home / "results")
    shutil.rmtree(tmp_path / "cache")
    assert start("--cores", "2").wait(PATIENCE) == 0, (tmp_path / "said").read_text()
    here = pd.read_csv(home / "figures" / "tiny" / "runs.csv")
    spent = ["train_seconds", "train_peak_mb", "score_seconds"]
    assert len(rows) == 6 and rows["error"].isna().all()
    pd.testing.assert_frame_equal(rows.drop(columns=spent), here.drop(columns=spent))
