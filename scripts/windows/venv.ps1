# The checkout's virtual environment; the scripts beside this file dot-source it.
#
#   Initialize-Venv '.[tests]'     makes or renews `.venv`, with the checkout and its extras installed in it
#
# Sets $root, the checkout, and $python, that environment's Python. A new environment is made with
# $env:PYTHON, or `python`, and one that is there keeps its own: delete `.venv` to change it.

$root = (Resolve-Path -LiteralPath (Join-Path $PSScriptRoot '..\..')).ProviderPath
$venv = Join-Path $root '.venv'
$python = Join-Path $venv 'Scripts\python.exe'

function Test-Python([string] $code) {
    if (-not (Test-Path -LiteralPath $python)) { return $false }
    & $python -c $code
    return $LASTEXITCODE -eq 0
}

function Initialize-Venv([string] $wanted) {
    $stamp = Join-Path $venv ('installed-' + ($wanted -replace '[^a-z]', ''))
    # All that an installation depends on, written down when it is whole: one broken off is done again.
    $files = 'setup.py', 'pyproject.toml' | ForEach-Object { Join-Path $root $_ }
    $state = $root + ' ' + ((Get-FileHash -LiteralPath $files).Hash -join ' ')
    $before = if (Test-Path -LiteralPath $stamp) { (Get-Content -Raw -Encoding UTF8 -LiteralPath $stamp).Trim() }
    if (($before -eq $state) -and (Test-Python 'pass')) {
        Write-Host "Using $venv"
        return
    }
    New-Venv
    Write-Host "Installing $wanted into $venv; the first time takes minutes"
    Push-Location -LiteralPath $root
    try {
        & $python -m pip install --quiet --disable-pip-version-check --editable $wanted
        if ($LASTEXITCODE -ne 0) { throw "pip could not install $wanted; its message is above." }
    } finally {
        Pop-Location
    }
    Set-Content -Encoding UTF8 -LiteralPath $stamp -Value $state
}

function New-Venv {
    if (Test-Python 'import pip') { return }
    $base = if ($env:PYTHON) { $env:PYTHON } else { 'python' }
    & $base -c 'import sys; sys.exit(sys.version_info < (3, 10))'
    if ($LASTEXITCODE -ne 0) {
        throw "$base is no Python of 3.10 or newer. Install one and set the variable PYTHON to its python.exe."
    }
    Write-Host "Making $venv with $(& $base --version)"
    & $base -m venv --clear $venv
    if ($LASTEXITCODE -ne 0) { throw "$base cannot make virtual environments. Install Python with pip and venv." }
}
