# Sets nnU-Net's variables in this bash or zsh, and activates the checkout's `.venv` where there is one:
#
#   source scripts/linux/activate.sh [-b BASE]
#
# Without a `.venv` the environment that is active is asked. See `nnunet_ext env --help`.

_nnunet_ext_activate() {
    local here lines
    here=$(CDPATH= cd -- "$(dirname -- "$1")/../.." && pwd) || return
    shift
    # A script that sources this one without arguments hands over its own: only -b is meant for us.
    [ "${1:-}" = -b ] || set --
    if [ $# -ne 0 ] && [ $# -ne 2 ]; then
        echo "Usage: source activate.sh [-b FOLDER]; it holds nnUNet_raw, nnUNet_preprocessed and nnUNet_results." >&2
        return 2
    fi
    if [ -f "$here/.venv/bin/activate" ]; then
        . "$here/.venv/bin/activate" || return
    fi
    if ! command -v nnunet_ext >/dev/null; then
        echo "nnunet_ext is in no active environment. Activate the one you installed it in, and try again." >&2
        return 1
    fi
    lines=$(nnunet_ext env --shell bash "$@") && eval "$lines"
}

# The file being sourced: zsh, which has no BASH_SOURCE, says it as $0.
_nnunet_ext_activate "${BASH_SOURCE[0]:-$0}" "$@"
