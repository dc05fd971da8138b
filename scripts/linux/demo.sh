#!/usr/bin/env bash
# Runs the demo in the checkout's `.venv`:  bash scripts/linux/demo.sh [options of `nnunet_ext demo`]

. "$(dirname -- "${BASH_SOURCE[0]}")/venv.sh" || exit
prepare_venv . || exit
exec "$python" -m nnunet_ext demo "$@"
