#!/usr/bin/env bash
# Watches trainings from the checkout's `.venv`:  bash scripts/linux/monitor.sh [options of `nnunet_ext monitor`]

. "$(dirname -- "${BASH_SOURCE[0]}")/venv.sh" || exit
# It needs neither torch nor nnU-Net; where there is no environment yet, it is made without them.
if ! "$python" -c 'import nnunet_ext, psutil, pydantic, yaml, rich' 2>/dev/null; then
    prepare_venv . psutil pydantic PyYAML rich nvidia-ml-py || exit
fi
exec "$python" -m nnunet_ext monitor "$@"
