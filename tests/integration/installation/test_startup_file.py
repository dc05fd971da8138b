"""The start-up file in the site-packages of a throw-away virtual environment, run by its own Python."""

import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from nnunet_ext.errors import RegistrationError
from nnunet_ext.installation import startup
from nnunet_ext.installation.startup import FILE_NAME, register, startup_line, unregister
from nnunet_ext.nnunet.folders import TRAINER_VARIABLE, discovery_folder

CHECKOUT = discovery_folder().parents[2]
SEEN = f"import os, json; print(json.dumps(os.environ.get({TRAINER_VARIABLE!r})))"


class Environment:
    """A virtual environment: its Python, its folder of packages, and what a child of it sees."""

    def __init__(self, folder):
        venv.create(folder, symlinks=os.name != "nt")
        scripts = "Scripts" if os.name == "nt" else "bin"
        self.python = folder / scripts / ("python.exe" if os.name == "nt" else "python")
        names = {"base": str(folder), "platbase": str(folder)}
        self.packages = Path(sysconfig.get_path("purelib", "venv", names))

    def run(self, *arguments, **variables):
        """Run its Python in its own folder, with these variables alone beside the system's."""
        kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT", "TEMP") if name in os.environ}
        return subprocess.run(
            [self.python, *arguments],
            cwd=self.packages,
            env=kept | {"PYTHONUTF8": "1"} | variables,
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )

    def sees(self, *options, program=SEEN, **variables):
        """What a fresh process finds in the variable; nothing may be said on stderr."""
        child = self.run(*options, "-c", program, **variables)
        assert child.stderr == ""
        return json.loads(child.stdout)

    def install(self, *folders):
        """Let it import from these folders, as a package installed for development is."""
        (self.packages / "installed.pth").write_text("\n".join(map(str, folders)) + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def shared_environment(tmp_path_factory):
    return Environment(tmp_path_factory.mktemp("environment") / "a blank ü")


@pytest.fixture
def environment(shared_environment):
    yield shared_environment
    for file in shared_environment.packages.glob("*.pth"):
        file.unlink()


@pytest.fixture
def folder(environment, tmp_path):
    """A folder of trainers with a difficult name that the start-up file names."""
    folder = tmp_path / "it's Łódź {0} 100% ü\\n"
    folder.mkdir()
    (environment.packages / FILE_NAME).write_text(startup_line(folder), encoding="ascii")
    return str(folder)


def test_an_unset_variable_names_our_folder(environment, folder):
    assert environment.sees() == folder


def test_an_empty_variable_names_our_folder(environment, folder):
    assert environment.sees(**{TRAINER_VARIABLE: ""}) == folder


def test_our_folder_comes_behind_those_of_the_user(environment, folder):
    assert environment.sees(**{TRAINER_VARIABLE: "/mine"}) == os.pathsep.join(["/mine", folder])


def test_a_folder_that_is_named_already_is_not_named_twice(environment, folder):
    value = os.pathsep.join([folder, "/mine"])
    assert environment.sees(**{TRAINER_VARIABLE: value}) == value


def test_a_folder_that_is_gone_is_passed_over_in_silence(environment, folder):
    Path(folder).rmdir()
    assert environment.sees() is None
    assert environment.sees(**{TRAINER_VARIABLE: "/mine"}) == "/mine"


def test_a_grandchild_sees_the_folder_once(environment, folder):
    program = f"import subprocess, sys; sys.exit(subprocess.call([sys.executable, '-c', {SEEN!r}]))"
    assert environment.sees(program=program) == folder


def test_a_spawned_worker_sees_the_folder(environment, folder):
    (environment.packages / "worker.py").write_text(
        "import multiprocessing, os, json\n"
        f"def look(_): return os.environ.get({TRAINER_VARIABLE!r})\n"
        "if __name__ == '__main__':\n"
        "    with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        "        print(json.dumps(pool.map(look, [0])[0]))\n"
    )
    assert json.loads(environment.run("worker.py").stdout) == folder


def test_isolated_python_sees_the_folder_and_python_without_site_does_not(environment, folder):
    assert environment.sees("-I") == folder
    assert environment.sees("-S") is None


def test_the_line_is_one_line_of_ascii_that_imports_nothing_heavy(environment, folder):
    line = (environment.packages / FILE_NAME).read_bytes()
    assert line.isascii()
    assert line.count(b"\n") == 1
    loaded = "import sys, json; print(json.dumps(sorted(sys.modules)))"
    with_file = environment.sees(program=loaded)
    (environment.packages / FILE_NAME).unlink()
    assert with_file == environment.sees(program=loaded)


def test_register_and_unregister_leave_the_listing_as_it_was(environment):
    environment.install(CHECKOUT, *sys.path[1:])
    before = sorted(environment.packages.iterdir())
    assert environment.run("-m", "nnunet_ext", "register").returncode == 0
    assert environment.sees() == str(discovery_folder())
    assert environment.run("-m", "nnunet_ext", "unregister").returncode == 0
    assert sorted(environment.packages.iterdir()) == before
    again = environment.run("-m", "nnunet_ext", "unregister")
    assert again.returncode == 0
    assert "Nothing to remove" in again.stdout


def test_registering_again_changes_nothing(environment):
    environment.install(CHECKOUT, *sys.path[1:])
    file = environment.packages / FILE_NAME
    assert "(written)" in environment.run("-m", "nnunet_ext", "register").stdout
    first = file.stat().st_mtime_ns
    assert "(unchanged)" in environment.run("-m", "nnunet_ext", "register").stdout
    assert file.stat().st_mtime_ns == first


def test_registering_a_package_that_only_the_checkout_imports_is_refused(environment):
    program = f"import sys; sys.path.insert(0, {str(CHECKOUT)!r}); from nnunet_ext.cli.main import main; "
    child = environment.run("-c", program + "sys.exit(main(['register']))")
    assert child.returncode == 2
    assert "No module named 'nnunet_ext'" in child.stderr
    assert not (environment.packages / FILE_NAME).exists()


def test_a_package_that_moved_is_registered_anew(tmp_path):
    (tmp_path / FILE_NAME).write_text(startup_line(tmp_path / "old place"))
    assert register([tmp_path]).done == "rewritten"
    assert (tmp_path / FILE_NAME).read_text() == startup_line(discovery_folder())


def test_a_folder_that_cannot_be_written_falls_back_to_the_next(tmp_path):
    (tmp_path / "file").write_text("in the way")
    registration = register([tmp_path / "file" / "site-packages", tmp_path / "user"])
    assert registration.file == tmp_path / "user" / FILE_NAME
    assert unregister([tmp_path / "file" / "site-packages", tmp_path / "user"]) == [registration.file]


def test_no_folder_to_write_is_said_with_what_to_do(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RegistrationError, match=r"file \(.*nnunet_ext env"):
        register([tmp_path / "file"])


def test_a_file_that_python_does_not_run_is_removed_again(tmp_path, monkeypatch):
    monkeypatch.setattr(startup, "package_folders", lambda: [tmp_path])
    with pytest.raises(RegistrationError, match="did not run it"):
        register()
    assert list(tmp_path.iterdir()) == []


def test_an_installation_without_its_trainers_is_not_registered(tmp_path, monkeypatch):
    monkeypatch.setattr(startup, "discovery_folder", lambda: tmp_path / "gone")
    with pytest.raises(RegistrationError, match="Install it again"):
        register([tmp_path])
    assert list(tmp_path.iterdir()) == []
