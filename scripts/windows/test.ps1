# Checks the code and runs the tests in the checkout's `.venv`:  scripts\windows\test.ps1 [-m "not slow"] ...
# Arguments go to pytest. All five checks run, whatever one of them says; the exit code is 1 if one failed.

trap { [Console]::Error.WriteLine($_.Exception.Message); exit 1 }
. (Join-Path $PSScriptRoot 'venv.ps1')
Initialize-Venv '.[tests]'

$checks = @('ruff', 'check'), @('ruff', 'format', '--check'), @('mypy'), (@('pytest') + $args)
$failed = @()
Push-Location -LiteralPath $root
try {
    foreach ($check in $checks) {
        Write-Host "== $check"
        & $python -m @check
        if ($LASTEXITCODE -ne 0) { $failed += "$check" }
    }
    Write-Host '== lint-imports'
    & (Join-Path $venv 'Scripts\lint-imports.exe') --no-logo --no-cache
    if ($LASTEXITCODE -ne 0) { $failed += 'lint-imports' }
} finally {
    Pop-Location
}
if ($failed) {
    $failed | ForEach-Object { Write-Host "Failed: $_" }
    exit 1
}
exit 0
