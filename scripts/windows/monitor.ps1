# Watches trainings from the checkout's `.venv`:  scripts\windows\monitor.ps1 [options of `nnunet_ext monitor`]
# It needs neither torch nor nnU-Net; where there is no environment yet, it is made without them.

trap { [Console]::Error.WriteLine($_.Exception.Message); exit 1 }
. (Join-Path $PSScriptRoot 'venv.ps1')
$names = '(''nnunet_ext'', ''psutil'', ''pydantic'', ''yaml'', ''rich'')'
if (-not (Test-Python ($findSpec + "sys.exit(not all(map(find_spec, $names)))"))) {
    Initialize-Venv '.' 'psutil', 'pydantic', 'PyYAML', 'rich', 'nvidia-ml-py'
}
& $python -m nnunet_ext monitor @args
exit $LASTEXITCODE
