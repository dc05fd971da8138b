# The checkout's virtual environment; the scripts beside this file dot-source it.
#
#   Initialize-Venv '.[tests]'     makes or updates `.venv`, with the checkout, its requirements and extras
#
# Sets $root, the checkout, and $python, that environment's Python. A new environment is made with
# $env:PYTHON, `python` or `py -3`; an existing one keeps its Python: delete `.venv` to change it.

$ErrorActionPreference = 'Stop'
$PSNativeCommandUseErrorActionPreference = $false  # exit codes are checked below, whatever a profile sets

$root = (Resolve-Path -LiteralPath (Join-Path $PSScriptRoot '..\..')).ProviderPath
$venv = Join-Path $root '.venv'
$python = Join-Path $venv 'Scripts\python.exe'
$findSpec = 'import sys; from importlib.util import find_spec; '

function Test-Python([string] $code) {
    if (-not (Test-Path -LiteralPath $python)) { return $false }
    & $python -c $code
    return $LASTEXITCODE -eq 0
}

# Where packages are named, the checkout is installed without its requirements, and these packages with it.
function Initialize-Venv([string] $wanted, [string[]] $alone) {
    $stamp = Join-Path $venv ('installed-' + ($wanted -replace '[^a-z]', '') + $(if ($alone) { '-alone' }))
    # The state of all that an installation depends on is written when it is complete; else it is repeated.
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

# The torch that pip installs on Windows supports CPUs only.
function Show-TorchAdvice {
    if (-not (Get-Command nvidia-smi -ErrorAction SilentlyContinue)) { return }
    if (Test-Python ($findSpec + 'sys.exit(not find_spec(''torch'') or not __import__(''torch'').version.cuda)')) { return }
    Write-Warning ("There is an NVIDIA driver, but no torch that uses it: the torch that pip installs by default runs " +
        "on CPUs only. Stop with Ctrl-C, choose Windows, Pip and CUDA on pytorch.org/get-started/locally, and type " +
        "its command with this Python: & '$python' -m pip install torch --index-url ADDRESS-FROM-THAT-PAGE")
}

function New-Venv {
    if (Test-Python 'import pip') { return }
    $base = @(Find-Python)
    $first, $rest = $base[0], @($base | Select-Object -Skip 1)
    & $first @rest -c 'import sys; sys.exit(sys.version_info < (3, 10))'
    if ($LASTEXITCODE -ne 0) {
        throw "$base is not Python 3.10 or newer. Install one and set the variable PYTHON to its python.exe."
    }
    Write-Host "Making $venv with $(& $first @rest --version)"
    & $first @rest -m venv --clear $venv
    if ($LASTEXITCODE -ne 0) { throw "$base cannot make virtual environments. Install Python with pip and venv." }
}

# The words of the command that starts Python.
function Find-Python {
    if ($env:PYTHON) {
        if (Get-Command $env:PYTHON -ErrorAction SilentlyContinue) { return $env:PYTHON }
        throw "The variable PYTHON names $env:PYTHON, which is no program. Set it to a python.exe."
    }
    if (Get-Command python -ErrorAction SilentlyContinue) { return 'python' }
    if (Get-Command py -ErrorAction SilentlyContinue) { return 'py', '-3' }
    throw 'There is no python on the PATH. Install Python 3.10 or newer, or set the variable PYTHON to its python.exe.'
}
