"""`nnunet_ext completion`: prints the lines that let a shell complete verbs and options."""

from __future__ import annotations

import argparse

from nnunet_ext.files.escaping import say

SHELLS = ("bash", "zsh", "powershell")
WHERE = {
    "bash": 'eval "$(nnunet_ext completion bash)"  in ~/.bashrc',
    "zsh": 'eval "$(nnunet_ext completion zsh)"  in ~/.zshrc',
    "powershell": "nnunet_ext completion powershell | Out-String | Invoke-Expression  in $PROFILE",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's options."""
    where = "; ".join(f"{shell}: {line}" for shell, line in WHERE.items())
    parser.add_argument("shell", choices=SHELLS, help=f"the shell; to have it in each new one, {where}")


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    import argcomplete

    say(argcomplete.shellcode(["nnunet_ext"], shell=args.shell))
    return 0
