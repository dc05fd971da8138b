# Sets nnU-Net's variables in this bash or zsh, and activates the checkout's `.venv` where there is one:
#
#   source scripts/linux/activate.sh [-b BASE]
#
# Without a `.venv` the active environment is used. See `nnunet_ext env --help`.

_nnunet_ext_activate() {
    local here lines
    here=$(CDPATH= cd -- "$(dirname -- "$1")/../.." && pwd) || return
    shift
    # A script that sources this one without arguments passes its own: only -b is an option of this one.
    [ "${1:-}" = -b ] || set --
    if [ $# -ne 0 ] && [ $# -ne 2 ]; then
        echo "Usage: source activate.sh [-b FOLDER]; the folder holds nnUNet_raw, nnUNet_preprocessed and nnUNet_results." >&2
        return 2
    fi
    if [ -f "$here/.venv/bin/activate" ]; then
        . "$here/.venv/bin/activate" || return
    fi
    if ! command -v nnunet_ext >/dev/null; then
        echo "nnunet_ext is not in the active environment. Activate the environment you installed it in, and try again." >&2
        return 1
    fi
    lines=$(nnunet_ext env --shell bash "$@") && eval "$lines"
}

# The file that is sourced; zsh, which has no BASH_SOURCE, has it in $0.
_nnunet_ext_activate "${BASH_SOURCE[0]:-$0}" "$@"
