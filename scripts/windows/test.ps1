# Checks the code and runs the tests in the checkout's `.venv`:  scripts\windows\test.ps1 [-m "not slow"] ...
# Arguments go to pytest. All four checks run, whatever one of them says; the exit code is 1 if one failed.
# Tests that repeat a case many times are left out but with -m exhaustive.

trap { [Console]::Error.WriteLine($_.Exception.Message); exit 1 }
. (Join-Path $PSScriptRoot 'venv.ps1')
Initialize-Venv '.[tests]'

$checks = @('ruff', 'check'), @('ruff', 'format', '--check'), @('mypy'), (@('pytest', '--durations=25') + $args)
$failed = @()
Push-Location -LiteralPath $root
try {
    foreach ($check in $checks) {
        Write-Host "== $check"
        & $python -m @check
        if ($LASTEXITCODE -ne 0) { $failed += "$check" }
    }
} finally {
    Pop-Location
}
if ($failed) {
    $failed | ForEach-Object { Write-Host "Failed: $_" }
    exit 1
}
exit 0
