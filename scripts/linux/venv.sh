# The checkout's virtual environment; bash scripts beside this file source it.
#
#   prepare_venv '.[tests]'     makes or updates `.venv`, with the checkout, its requirements and extras
#   prepare_venv '.' rich …     the same with the checkout without its requirements, and the named packages
#
# Sets `root`, the checkout, and `python`, that environment's Python. A new environment is made with
# ${PYTHON:-python3}; an existing one keeps its Python: delete `.venv` to change it.

root=$(CDPATH= cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)
python=$root/.venv/bin/python

prepare_venv() {
    local wanted=$1 stamp=$root/.venv/installed-${1//[^a-z]/}${2:+-alone} state
    shift
    # The check sum of all that an installation depends on is written when it is complete; else it is repeated.
    state=$(cd -- "$root" && { pwd; cat setup.py pyproject.toml; } | cksum)
    if [ "$(cat -- "$stamp" 2>/dev/null)" = "$state" ] && "$python" -c '' 2>/dev/null; then
        echo "Using $root/.venv" >&2
        return
    fi
    make_venv "${PYTHON:-python3}" || return
    echo "Installing $wanted into $root/.venv; the first time takes minutes" >&2
    set -- "$wanted" "$@"
    (
        cd -- "$root" || exit
        pip() { "$python" -m pip install --quiet --disable-pip-version-check "$@"; }
        if [ $# -eq 1 ]; then pip --editable "$1"; else pip --no-deps --editable . && shift && pip "$@"; fi
    ) || return
    printf '%s\n' "$state" >"$stamp"
}

make_venv() {
    local base=$1 clear=--clear
    # An environment that was moved still names its old place, and some tools make one without pip: both are
    # updated and keep their packages. An environment whose Python is gone is made anew.
    if "$python" -c '' 2>/dev/null; then
        "$python" -c 'import pip' 2>/dev/null && grep -qsF -- "$root/.venv" "$root/.venv/bin/activate" && return
        base=$python clear=
    fi
    if ! "$base" -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then
        echo "$base is not Python 3.10 or newer. Install one and name it: PYTHON=python3.12 bash $0" >&2
        return 1
    fi
    echo "Making $root/.venv with $("$base" --version)" >&2
    if ! "$base" -m venv $clear "$root/.venv"; then
        echo "$base cannot make virtual environments. On Debian and Ubuntu: apt install python3-venv" >&2
        return 1
    fi
}
