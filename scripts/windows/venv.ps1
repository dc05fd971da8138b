# The checkout's virtual environment; the scripts beside this file dot-source it.
#
#   Initialize-Venv '.[tests]'     makes or renews `.venv`, with the checkout and its extras installed in it
#
# Sets $root, the checkout, and $python, that environment's Python. A new environment is made with
# $env:PYTHON, `python` or `py -3`, and one that is there keeps its own: delete `.venv` to change it.

$ErrorActionPreference = 'Stop'
$PSNativeCommandUseErrorActionPreference = $false  # exit codes are looked at here, whatever a profile prefers

$root = (Resolve-Path -LiteralPath (Join-Path $PSScriptRoot '..\..')).ProviderPath
$venv = Join-Path $root '.venv'
$python = Join-Path $venv 'Scripts\python.exe'
$findSpec = 'import sys; from importlib.util import find_spec; '

function Test-Python([string] $code) {
    if (-not (Test-Path -LiteralPath $python)) { return $false }
    & $python -c $code
    return $LASTEXITCODE -eq 0
}

# With names of packages the checkout is installed without what it needs, and these beside it.
function Initialize-Venv([string] $wanted, [string[]] $alone) {
    $stamp = Join-Path $venv ('installed-' + ($wanted -replace '[^a-z]', '') + $(if ($alone) { '-alone' }))
    # All that an installation depends on, written down when it is whole: one broken off is done again.
    $files = 'setup.py', 'pyproject.toml' | ForEach-Object { Join-Path $root $_ }
    $state = $root + ' ' + ((Get-FileHash -LiteralPath $files).Hash -join ' ')
    $before = if (Test-Path -LiteralPath $stamp) { (Get-Content -Raw -Encoding UTF8 -LiteralPath $stamp).Trim() }
    if (($before -eq $state) -and (Test-Python 'pass')) {
        Write-Host "Using $venv"
        return
    }
    New-Venv
    if (-not $alone) { Show-TorchAdvice }
    Write-Host "Installing $wanted into $venv; the first time takes minutes"
    Push-Location -LiteralPath $root
    try {
        $how = @('-m', 'pip', 'install', '--quiet', '--disable-pip-version-check')
        if ($alone) {
            & $python @how --no-deps --editable .
            if ($LASTEXITCODE -eq 0) { & $python @how @alone }
        } else {
            & $python @how --editable $wanted
        }
        if ($LASTEXITCODE -ne 0) { throw "pip could not install $wanted; its message is above." }
    } finally {
        Pop-Location
    }
    Set-Content -Encoding UTF8 -LiteralPath $stamp -Value $state
}

# pip's torch for Windows is the one for CPUs alone.
function Show-TorchAdvice {
    if (-not (Get-Command nvidia-smi -ErrorAction SilentlyContinue)) { return }
    if (Test-Python ($findSpec + 'sys.exit(not find_spec(''torch'') or not __import__(''torch'').version.cuda)')) { return }
    Write-Warning ("An NVIDIA driver is here, and no torch that uses it: what pip installs by itself computes on " +
        "the CPU. Stop with Ctrl-C, choose Windows, Pip and CUDA on pytorch.org/get-started/locally, and type " +
        "its command with this Python: & '$python' -m pip install torch --index-url ADDRESS-FROM-THAT-PAGE")
}

function New-Venv {
    if (Test-Python 'import pip') { return }
    $base = @(Find-Python)
    $first, $rest = $base[0], @($base | Select-Object -Skip 1)
    & $first @rest -c 'import sys; sys.exit(sys.version_info < (3, 10))'
    if ($LASTEXITCODE -ne 0) {
        throw "$base is no Python of 3.10 or newer. Install one and set the variable PYTHON to its python.exe."
    }
    Write-Host "Making $venv with $(& $first @rest --version)"
    & $first @rest -m venv --clear $venv
    if ($LASTEXITCODE -ne 0) { throw "$base cannot make virtual environments. Install Python with pip and venv." }
}

# The command that starts a Python, in words.
function Find-Python {
    if ($env:PYTHON) {
        if (Get-Command $env:PYTHON -ErrorAction SilentlyContinue) { return $env:PYTHON }
        throw "The variable PYTHON names $env:PYTHON, and there is no such program. Set it to a python.exe."
    }
    if (Get-Command python -ErrorAction SilentlyContinue) { return 'python' }
    if (Get-Command py -ErrorAction SilentlyContinue) { return 'py', '-3' }
    throw 'There is no python on the PATH. Install Python 3.10 or newer, or set the variable PYTHON to its python.exe.'
}
