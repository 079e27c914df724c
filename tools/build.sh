#!/usr/bin/env bash
# Builds one flavour into build/FLAVOUR: tools/build.sh gcc|clang|asan. The last is clang's, with ASan, UBSan and the
# fuzz harnesses.
set -euo pipefail
cd "$(dirname "$0")/.."
case ${1:-gcc} in
gcc) compiler=gcc options=() ;;
clang) compiler=clang options=() ;;
asan) compiler=clang options=(-Db_sanitize=address,undefined -Db_lundef=false -Dfuzz=true) ;;
*) echo "build: unknown flavour $1 (gcc, clang, asan)" >&2; exit 2 ;;
esac
dir=build/${1:-gcc}
[ -f "$dir/build.ninja" ] || CC=$compiler meson setup "$dir" "${options[@]}" >"$dir.setup.log" || {
    cat "$dir.setup.log" >&2
    exit 1
}
ninja -C "$dir" --quiet
