# Runs the demo in the checkout's `.venv`:  scripts\windows\demo.ps1 [options of `nnunet_ext demo`]

trap { [Console]::Error.WriteLine($_.Exception.Message); exit 1 }
. (Join-Path $PSScriptRoot 'venv.ps1')
Initialize-Venv '.'
& $python -m nnunet_ext demo @args
exit $LASTEXITCODE
