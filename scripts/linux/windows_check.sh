#!/usr/bin/env bash
# Tests this checkout in a Windows Python under wine, in a folder whose name holds letters beyond ASCII:
#
#   bash scripts/linux/windows_check.sh [--torch] [FOLDER]
#
# FOLDER is where windows_setup.sh keeps that Python. Without --torch the unit tests that need no torch run,
# and verbs on files of all kinds; with it also the doctor, and a training with a prediction.
# Exit code 77: Windows was not tested, because there is no wine and none can be installed.

here=$(CDPATH= cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
checkout=$(CDPATH= cd -- "$here/../.." && pwd)
with_torch=
[ "${1-}" != --torch ] || { with_torch=1; shift; }
folder=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/nnunet_ext/windows}
began=$SECONDS

bash "$here/windows_setup.sh" "$folder" || {
    code=$?
    echo "WINDOWS IS NOT TESTED: its Python could not be made in $folder" >&2
    exit "$code"
}
folder=$(CDPATH= cd -- "$folder" && pwd)
. "$folder/env.sh"
cd -- "$checkout" || exit
export PYTHONPATH="Z:${checkout//\//\\}"
export PYTHONPYCACHEPREFIX='C:\pycache' # apart from the byte code of a Python 3.13 on Linux
echo "== Windows' Python is made: $((SECONDS - began)) s, $(du -sh -- "$folder" | cut -f1) in $folder" >&2

failed=()
in_windows() { # a heading, then the arguments of Python
    local heading=$1 at=$SECONDS
    shift
    echo "== Windows: $heading" >&2
    wine "$folder/py/python.exe" "$@" </dev/null 2>&1 | cat
    local code=${PIPESTATUS[0]}
    echo "== $heading: $([ "$code" = 0 ] && echo passed || echo "FAILED, exit code $code"), $((SECONDS - at)) s" >&2
    [ "$code" = 0 ] || failed+=("$heading")
}
tests() { # a heading, then the arguments of pytest
    in_windows "$1" -m pytest -p no:cacheprovider --basetemp 'C:\Übung 1 測試' --tb=short "${@:2}"
}

# Tests that need torch, read sources or start bash do not run there.
skipped='/(trainers|planning|pruning|test_(quick_start|public_names|readme|contributing|scripts).py|__pycache__)$'
mapfile -t rooms < <(printf '%s\n' tests/unit/* | grep -Ev "$skipped")
tests 'unit tests' "${rooms[@]}"
tests 'verbs in C:\Übung 1 測試' tests/end_to_end/test_odd_folder.py
if [ -n "$with_torch" ]; then
    in_windows 'doctor' -m nnunet_ext doctor
    tests 'training, STOP, --c and predict' tests/end_to_end/test_odd_training.py
fi

echo "== $((SECONDS - began)) s in all" >&2
[ ${#failed[@]} = 0 ] && exit
printf 'Failed on Windows: %s\n' "${failed[@]}" >&2
exit 1
