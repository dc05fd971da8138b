import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import tree_sitter_powershell
from tree_sitter import Language, Parser

CHECKOUT = Path(__file__).resolve().parents[2]
SCRIPTS = CHECKOUT / "scripts"
SBATCH = SCRIPTS / "linux" / "slurm_train.sbatch"
LINUX_ONLY = {
    SBATCH.stem,
    "slurm_dask",
    "windows_check",
    "windows_packages",
    "windows_setup",
    "windows_unpack",
}
SHELL_SCRIPTS = [*sorted((SCRIPTS / "linux").glob("*.sh")), SBATCH, CHECKOUT / ".ci" / "run"]
POWERSHELL_SCRIPTS = sorted((SCRIPTS / "windows").glob("*.ps1"))

needs_posix = pytest.mark.skipif(os.name == "nt", reason="these scripts are for Linux and macOS")


def name_of(path):
    return path.name


def test_every_verb_has_a_script_on_both_platforms():
    linux = {file.stem for file in (SCRIPTS / "linux").iterdir()} - LINUX_ONLY
    windows = {file.stem for file in (SCRIPTS / "windows").iterdir()}
    assert linux == windows == {"activate", "demo", "monitor", "test", "venv"}


@needs_posix
@pytest.mark.parametrize("script", SHELL_SCRIPTS, ids=name_of)
def test_bash_parses(script):
    subprocess.run(["bash", "-n", script], check=True)


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_parses_the_script_that_is_sourced():
    subprocess.run(["zsh", "-n", SCRIPTS / "linux" / "activate.sh"], check=True)


@pytest.mark.parametrize("script", POWERSHELL_SCRIPTS, ids=name_of)
def test_powershell_parses_and_old_ones_read_the_encoding(script):
    source = script.read_bytes()
    assert source.isascii()
    assert not Parser(Language(tree_sitter_powershell.language())).parse(source).root_node.has_error


def test_batch_files_are_ascii_with_the_line_ends_of_windows():
    for script in (SCRIPTS / "windows").glob("*.bat"):
        source = script.read_bytes()
        assert source.isascii()
        assert source.count(b"\n") == source.count(b"\r\n")


@needs_posix
@pytest.mark.parametrize(
    ("code", "is_queued_again"), [(0, False), (75, True), (1, False), (2, False), (138, False), (143, False)]
)
def test_a_job_is_queued_again_where_it_was_interrupted_and_not_where_it_crashed(
    tmp_path, code, is_queued_again
):
    stand_ins = {
        "srun": f"#!/usr/bin/env bash\nexit {code}\n",
        "scontrol": f'#!/usr/bin/env bash\necho "$@" >>"{tmp_path}/asked"\n',
    }
    for name, text in stand_ins.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "SLURM_JOB_ID": "7"}
    environment |= {"SLURM_NTASKS": "1"}
    ended = subprocess.run(["bash", SBATCH, "-d", "1"], env=environment, check=False)
    assert ended.returncode == code
    asked = tmp_path / "asked"
    assert (asked.read_text() if asked.exists() else "") == ("requeue 7\n" if is_queued_again else "")


def test_ci_runs_what_the_readme_says():
    run = CHECKOUT / ".ci" / "run"
    assert "bash scripts/linux/test.sh" in run.read_text()
    assert os.name == "nt" or run.stat().st_mode & stat.S_IXUSR


@needs_posix
@pytest.mark.parametrize("shell", ["bash", "zsh"])
@pytest.mark.parametrize("options", [[], ["-b", "/a b/'c'"], ["an argument of the caller's"]])
def test_activate_runs_the_lines_it_is_given_from_any_folder(shell, options, tmp_path):
    """The command's stand-in shows what the script does by itself; a job's own arguments stay out of it."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    checkout = tmp_path / "check out ü"
    scripts, commands = checkout / "scripts" / "linux", checkout / "bin"
    shutil.copytree(SCRIPTS / "linux", scripts)
    commands.mkdir()
    (commands / "nnunet_ext").write_text("#!/bin/sh\necho \"export seen='$# $1 $2 $3'\"\n")
    (commands / "nnunet_ext").chmod(0o755)
    program = 'script=$1; shift; set -eu; source "$script" "$@"; printf %s "$seen"'
    environment = {"PATH": os.pathsep.join([str(commands), "/usr/bin", "/bin"])}
    out = subprocess.run(
        [shell, "-c", program, shell, scripts / "activate.sh", *options],
        capture_output=True, cwd=tmp_path, env=environment, check=True,
    ).stdout.decode()  # fmt: skip
    assert out == f"{5 if options[:1] == ['-b'] else 3} env --shell bash"


def in_a_job(tmp_path, exit_code, *arguments, **variables):
    """Run the job's script with stand-ins for SLURM's commands and ours; the calls of the latter two."""
    commands = {
        "srun": '"$@"',
        "scontrol": 'if [ "$1" = show ]; then echo node7; else echo "scontrol $*" >> "$CALLS"; fi',
        "nnunet_ext": f'echo "nnunet_ext $* ${{RANK:-}} ${{MASTER_ADDR:-}}" >> "$CALLS"; exit {exit_code}',
    }
    for name, line in commands.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{line}\n", encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    job = {
        "SLURM_NTASKS": "1",
        "SLURM_JOB_ID": "12",
        "SLURM_JOB_NODELIST": "node[7-8]",
        "SLURM_PROCID": "1",
        "SLURM_LOCALID": "0",
        "SLURM_NTASKS_PER_NODE": "1",
        "CALLS": str(tmp_path / "calls"),
        "PATH": os.pathsep.join([str(tmp_path), "/usr/bin", "/bin"]),
    }
    done = subprocess.run(["bash", SBATCH, *arguments], env={**job, **variables}, check=False)
    assert done.returncode == exit_code
    return (tmp_path / "calls").read_text().splitlines()


@needs_posix
def test_a_job_that_was_interrupted_is_queued_again(tmp_path):
    assert in_a_job(tmp_path, 75, "-d", "1") == ["nnunet_ext train -d 1  ", "scontrol requeue 12"]


@needs_posix
@pytest.mark.parametrize("exit_code", [0, 1, 2])
def test_a_job_that_has_ended_is_not_queued_again(tmp_path, exit_code):
    assert in_a_job(tmp_path, exit_code) == ["nnunet_ext train  "]


@needs_posix
def test_a_job_on_several_nodes_continues_with_its_rank_and_the_first_node(tmp_path):
    calls = in_a_job(tmp_path, 0, "-f", "0", SLURM_NTASKS="2", SLURM_RESTART_COUNT="1")
    assert calls == ["nnunet_ext train -f 0 --c 1 node7"]


@needs_posix
def test_the_command_runs_on_the_jobs_that_were_queued_for_it(tmp_path):
    (tmp_path / "dask_jobqueue.py").write_text(
        "class SLURMCluster:\n"
        "    scheduler_address = 'tcp://node7:1234'\n"
        "    def __init__(self, **options): print('asked', options['memory'])\n"
        "    def adapt(self, **options): print('jobs', options)\n"
        "    def __enter__(self): return self\n"
        "    def __exit__(self, *_): print('taken back')\n",
        encoding="utf-8",
    )
    package = tmp_path / "nnunet_ext"
    package.mkdir()
    (package / "__main__.py").write_text("import sys; print(sys.argv[1:], flush=True); sys.exit(3)\n")
    environment = {
        "PATH": "/usr/bin:/bin",
        "PYTHON": sys.executable,
        "PYTHONPATH": str(tmp_path),
        "PYTHONUNBUFFERED": "1",
        "SLURM_DASK_MEMORY": "5GB",
    }
    done = subprocess.run(
        [SCRIPTS / "linux" / "slurm_dask.sh", "4", "predict", "-o", "a b"],
        env=environment, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert done.stdout.splitlines() == [
        "asked 5GB",
        "jobs {'minimum_jobs': 4, 'maximum_jobs': 4}",
        "['predict', '-o', 'a b', '--scheduler', 'tcp://node7:1234']",
        "taken back",
    ]


@needs_posix
@pytest.mark.parametrize("arguments", [["-b"], ["-b", "/a", "--shell", "powershell"]])
def test_activate_refuses_what_is_no_base_alone(arguments, tmp_path):
    command = ["bash", "-c", 'source "$0" "$@"', SCRIPTS / "linux" / "activate.sh", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.startswith("Usage: source activate.sh [-b FOLDER]")
