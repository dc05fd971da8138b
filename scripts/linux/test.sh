#!/usr/bin/env bash
# Checks the code and runs the tests in the checkout's `.venv`:  bash scripts/linux/test.sh [-m "not slow"] …
# Arguments go to pytest. All four checks run, whatever one of them says; the exit code is 1 if one failed.
# Tests that repeat a case many times are left out but with -m exhaustive.

. "$(dirname -- "${BASH_SOURCE[0]}")/venv.sh" || exit
prepare_venv '.[tests]' || exit
cd -- "$root" || exit

failed=()
check() {
    echo "== $*" >&2
    "$python" -m "$@" || failed+=("$*")
}
check ruff check
check ruff format --check
check mypy
check pytest --durations=25 "$@"

[ ${#failed[@]} = 0 ] && exit
printf 'Failed: %s\n' "${failed[@]}" >&2
exit 1
