#!/usr/bin/env bash
# Watches trainings from the checkout's `.venv`:  bash scripts/linux/monitor.sh [options of `nnunet_ext monitor`]

. "$(dirname -- "${BASH_SOURCE[0]}")/venv.sh" || exit
prepare_venv '.[monitor]' || exit
exec "$python" -m nnunet_ext monitor "$@"
