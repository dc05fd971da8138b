# Checks the code and runs the tests in the checkout's `.venv`:  scripts\windows\test.ps1 [-m "not slow"] ...
# Tests run on a process for each processor, four at most; `-n 0` runs them on one.
# Arguments go to pytest. All five checks run even where one fails; the exit code is 1 where any failed.
# Tests that repeat a case many times run with `-m exhaustive` alone.

trap { [Console]::Error.WriteLine($_.Exception.Message); exit 1 }
. (Join-Path $PSScriptRoot 'venv.ps1')
Initialize-Venv '.[tests]'

$layers = 'from importlinter.cli import lint_imports_command; lint_imports_command()'
$processes = '-n', 'logical', '--maxprocesses', '4', '--dist', 'loadfile', '--no-loadscope-reorder'
$checks = [ordered]@{
    'ruff check' = '-m', 'ruff', 'check'
    'ruff format' = '-m', 'ruff', 'format', '--check'
    'mypy' = '-m', 'mypy'
    'lint-imports' = '-c', $layers, '--no-logo', '--no-cache'
    'pytest' = @('-m', 'pytest') + $processes + @('--durations=25') + $args
}
$failed = @()
$env:PYTHONDONTWRITEBYTECODE = $null  # hundreds of processes read what one has compiled
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
