#!/usr/bin/env bash
# Checks the code and runs the tests in the checkout's `.venv`:  bash scripts/linux/test.sh [-m "not slow"] …
# Tests run on a process for each processor, four at most; `-n 0` runs them on one.
# Arguments go to pytest. All five checks run even where one fails; the exit code is 1 where any failed.
# Tests that repeat a case many times run with `-m exhaustive` alone.

. "$(dirname -- "${BASH_SOURCE[0]}")/venv.sh" || exit
prepare_venv '.[tests]' || exit
cd -- "$root" || exit
unset PYTHONDONTWRITEBYTECODE # hundreds of processes read what one has compiled

failed=()
check() {
    echo "== $*" >&2
    "$python" -m "$@" || failed+=("$*")
}
check ruff check
check ruff format --check
check mypy
echo "== lint-imports" >&2
"${python%/*}/lint-imports" --no-logo --no-cache || failed+=(lint-imports)
check pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder --durations=25 "$@"

[ ${#failed[@]} = 0 ] && exit
printf 'Failed: %s\n' "${failed[@]}" >&2
exit 1
