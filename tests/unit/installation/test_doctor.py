import json
import subprocess
import sys

import pytest

from nnunet_ext.cli import doctor as verb
from nnunet_ext.cli.main import main
from nnunet_ext.installation import doctor
from nnunet_ext.installation.doctor import guarded
from nnunet_ext.installation.findings import Diagnosis, InstallationFinding
from nnunet_ext.installation.trial import Trial

FINE = InstallationFinding("torch", "ok", "2.8.0")
WARNED = InstallationFinding("[RAM]", "warning", "8 GiB", "Train with few workers.")
BROKEN = InstallationFinding("nnUNet_raw", "error", "'\"/data\"' has quotes", "Set it to /data alone.")


@pytest.fixture
def diagnose(monkeypatch):
    def answer_with(*findings):
        monkeypatch.setattr(verb, "examine", lambda: Diagnosis(findings))

    return answer_with


@pytest.mark.parametrize(("findings", "code"), [((FINE, WARNED), 0), ((FINE, BROKEN), 1), ((), 0)])
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_only_an_error_gives_exit_code_1(findings, code, options, diagnose):
    diagnose(*findings)
    assert main(["doctor", *options]) == code


def test_lines_give_severity_subject_and_what_to_do(diagnose, capsys):
    diagnose(FINE, WARNED)
    main(["doctor"])
    assert capsys.readouterr().out.splitlines() == [
        "ok       torch: 2.8.0",
        "warning  [RAM]: 8 GiB",
        "         -> Train with few workers.",
        "0 errors, 1 warnings.",
    ]


def test_json_holds_every_field_and_nothing_else_is_on_stdout(diagnose, capsys):
    diagnose(BROKEN)
    main(["doctor", "--json"])
    seen = json.loads(capsys.readouterr().out)
    assert seen == [
        {"subject": "nnUNet_raw", "severity": "error", "seen": BROKEN.seen, "advice": BROKEN.advice}
    ]


def test_a_terminal_gets_a_table_in_which_brackets_survive(diagnose, capsys, monkeypatch):
    diagnose(WARNED)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    main(["doctor"])
    assert "[RAM]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "severity"), [(ImportError("no psutil"), "error"), (OSError("no"), "warning")]
)
def test_a_check_that_cannot_look_is_a_finding(error, severity):
    def check():
        raise error

    (finding,) = guarded("RAM", check)
    assert (finding.subject, finding.severity, finding.seen) == (
        "RAM",
        severity,
        f"cannot be examined: {error}",
    )


def test_torch_is_imported_in_one_child_and_not_here(monkeypatch):
    begun = []
    trial = Trial((), 0, "")
    monkeypatch.setattr(doctor, "run_probe", lambda environment: begun.append(environment) or trial)
    popen, commands = subprocess.Popen, []

    def noted(command, *more, **options):
        commands.append(command[0])
        return popen(command, *more, **options)

    monkeypatch.setattr(subprocess, "Popen", noted)
    before = set(sys.modules)
    doctor.examine({})
    assert len(begun) == 1 and sys.executable not in commands
    assert not {"torch", "nnunetv2"} & (set(sys.modules) - before)
