<#
.SYNOPSIS
Sets nnU-Net's variables in this PowerShell, and activates the checkout's .venv where there is one.

.DESCRIPTION
Sets nnUNet_raw, nnUNet_preprocessed, nnUNet_results and nnUNet_extTrainer. Without a .venv the active
environment is used. Where scripts are not allowed to run, allow them in this window first:
Set-ExecutionPolicy -Scope Process Bypass

.PARAMETER Base
The folder that holds nnUNet_raw, nnUNet_preprocessed and nnUNet_results. Without it, variables that are
set are kept, and the others name folders in the current folder.

.EXAMPLE
. scripts\windows\activate.ps1 -Base D:\nnunet
#>
[CmdletBinding(PositionalBinding = $false)]
param(
    [Alias('b')] [string] $Base,
    [Parameter(ValueFromRemainingArguments = $true)] [string[]] $Others
)

try {
    & {
        param([string] $Base, [string[]] $Others)
        $PSNativeCommandUseErrorActionPreference = $false
        if ($Others) {
            throw "'$Others' is not understood. Usage: activate.ps1 [-Base FOLDER]; see Get-Help."
        }
        $activate = Join-Path $PSScriptRoot '..\..\.venv\Scripts\Activate.ps1'
        if (Test-Path -LiteralPath $activate) { . $activate }
        if (-not (Get-Command nnunet_ext -ErrorAction SilentlyContinue)) {
            throw 'nnunet_ext is not in the active environment. Activate the environment you installed it in, and try again.'
        }
        $options = @()
        if ($Base) {
            # Windows PowerShell passes 'C:\my data\' with its closing quote, as if that were escaped.
            $folder = $Base.TrimEnd('\', '/')
            if ($folder -match '^([A-Za-z]:)?$') { $folder += $Base.Substring($folder.Length, 1) }
            $options = '-b', $folder
        }
        $lines = @(& nnunet_ext env --shell powershell @options)
        if ($LASTEXITCODE -ne 0) { throw 'The variables are not set; see the message above.' }
        $part = "('([^']|'')*'|\[char\]0x[0-9A-F]{4})"
        $strange = @($lines | Where-Object { $_ -cnotmatch "^\`$env:nnUNet_[A-Za-z]+ = $part( \+ $part)*`$" })
        if ($strange -or -not $lines) { throw "nnunet_ext printed lines that set no variable: '$strange'. Nothing was run." }
        $lines | Invoke-Expression
    } $Base $Others
} catch {
    if ($MyInvocation.InvocationName -eq '.') { throw $_.Exception.Message }  # a window that stays open
    [Console]::Error.WriteLine($_.Exception.Message)
    exit 1
} finally {
    Remove-Variable -Name 'Base', 'Others' -ErrorAction SilentlyContinue
}
