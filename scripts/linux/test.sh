#!/usr/bin/env bash
# Checks the code and runs the tests in the checkout's `.venv`:  bash scripts/linux/test.sh [-m "not slow"] …
# Arguments go to pytest. All five checks run even where one fails; the exit code is 1 where any failed.
# Tests that repeat a case many times run with `-m exhaustive` alone.

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
echo "== lint-imports" >&2
"${python%/*}/lint-imports" --no-logo --no-cache || failed+=(lint-imports)
check pytest --durations=25 "$@"

[ ${#failed[@]} = 0 ] && exit
printf 'Failed: %s\n' "${failed[@]}" >&2
exit 1
