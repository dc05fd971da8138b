# Sets nnU-Net's variables in this PowerShell, and activates the checkout's `.venv` where there is one:
#
#   scripts\windows\activate.ps1 [-b BASE]
#
# Without a `.venv` the environment that is active is asked. See `nnunet_ext env --help`.

$activate = Join-Path $PSScriptRoot '..\..\.venv\Scripts\Activate.ps1'
if (Test-Path -LiteralPath $activate) { . $activate }
if (-not (Get-Command nnunet_ext -ErrorAction SilentlyContinue)) {
    throw 'nnunet_ext is in no active environment. Activate the one you installed it in, and try again.'
}
$lines = & nnunet_ext env --shell powershell @args
if ($LASTEXITCODE -ne 0) { throw 'The variables are not set; the message above says why.' }
$lines | Invoke-Expression
