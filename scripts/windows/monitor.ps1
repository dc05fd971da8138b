# Watches trainings from the checkout's `.venv`:  scripts\windows\monitor.ps1 [options of `nnunet_ext monitor`]

$ErrorActionPreference = 'Stop'
. (Join-Path $PSScriptRoot 'venv.ps1')
Initialize-Venv '.[monitor]'
& $python -m nnunet_ext monitor @args
exit $LASTEXITCODE
