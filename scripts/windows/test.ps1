# Checks the code and runs the tests in the checkout's `.venv`:  scripts\windows\test.ps1 [-m "not slow"] ...
# Arguments go to pytest. All five checks run even where one fails; the exit code is 1 where any failed.
# Tests that repeat a case many times run with `-m exhaustive` alone.

trap { [Console]::Error.WriteLine($_.Exception.Message); exit 1 }
. (Join-Path $PSScriptRoot 'venv.ps1')
Initialize-Venv '.[tests]'

$layers = 'from importlinter.cli import lint_imports_command; lint_imports_command()'
$checks = [ordered]@{
    'ruff check' = '-m', 'ruff', 'check'
    'ruff format' = '-m', 'ruff', 'format', '--check'
    'mypy' = '-m', 'mypy'
    'lint-imports' = '-c', $layers, '--no-logo', '--no-cache'
    'pytest' = @('-m', 'pytest', '--durations=25') + $args
}
$failed = @()
Push-Location -LiteralPath $root
try {
    foreach ($check in $checks.Keys) {
        Write-Host "== $check"
        $words = $checks[$check]
        & $python @words
        if ($LASTEXITCODE -ne 0) { $failed += $check }
    }
} finally {
    Pop-Location
}
if ($failed) {
    $failed | ForEach-Object { Write-Host "Failed: $_" }
    exit 1
}
exit 0
