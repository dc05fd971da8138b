#!/usr/bin/env bash
# Runs the cases of one command on SLURM jobs, each of which takes whole cases:
#   scripts/linux/slurm_dask.sh 8 predict -i imagesTs -o out --plan ensemble.yaml -device cuda
# 8 jobs are queued, and cancelled when the command has ended. A job that dies or runs out of time is replaced,
# and its case is tried again. Start it where `nnunet_ext doctor` finds no error, on a node that may submit jobs
# and shares its folders with them. Needs: pip install nnunet-ext[dask] dask-jobqueue
# Variables for the resources of each job, with their defaults:
#   SLURM_DASK_CORES=8 SLURM_DASK_MEMORY=32GB SLURM_DASK_TIME=04:00:00 SLURM_DASK_OPTIONS=--gpus=1
set -eu

exec "${PYTHON:-python}" - "$@" <<'PROGRAM'
import os
import shlex
import subprocess
import sys

from dask_jobqueue import SLURMCluster

n_jobs, *command = sys.argv[1:]
with SLURMCluster(
    cores=int(os.environ.get("SLURM_DASK_CORES", "8")),
    processes=1,
    memory=os.environ.get("SLURM_DASK_MEMORY", "32GB"),
    walltime=os.environ.get("SLURM_DASK_TIME", "04:00:00"),
    job_extra_directives=shlex.split(os.environ.get("SLURM_DASK_OPTIONS", "--gpus=1")),
    # One case at a time; its threads use all cores.
    worker_extra_args=["--nthreads", "1"],
) as cluster:
    cluster.adapt(minimum_jobs=int(n_jobs), maximum_jobs=int(n_jobs))
    options = ["--scheduler", cluster.scheduler_address]
    sys.exit(subprocess.run([sys.executable, "-m", "nnunet_ext", *command, *options]).returncode)
PROGRAM
