# Runs the demo in the checkout's `.venv`:  scripts\windows\demo.ps1 [options of `nnunet_ext demo`]

$ErrorActionPreference = 'Stop'
. (Join-Path $PSScriptRoot 'venv.ps1')
Initialize-Venv '.'
& $python -m nnunet_ext demo @args
exit $LASTEXITCODE
