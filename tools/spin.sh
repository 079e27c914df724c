#!/usr/bin/env bash
# Checks the models of docs/model exhaustively. Each #ifdef MISTAKE_... in a model is a seeded mistake: the model with it
# must fail, or the model would prove nothing. One line per check, ending in "ok" or "FAILED".
set -uo pipefail
cd "$(dirname "$0")/.."
work=build/spin
rm -rf "$work" && mkdir -p "$work"
status=0

# $1 = model, the rest = macros. Success: the whole state space was searched without an error.
search() {
    local model=$1; shift
    local dir; dir=$work/$(basename "$model" .pml)${1:+-${1#-D}}
    mkdir -p "$dir"
    (cd "$dir" && spin "$@" -a "$OLDPWD/$model" && gcc -O2 -w -DSAFETY -DVECTORSZ=4096 -DCOLLAPSE -o pan pan.c &&
        ./pan -m1000000) >"$dir/log" 2>&1 || return 2
    grep -q 'max search depth too small' "$dir/log" && return 2
    grep -q 'errors: 0' "$dir/log"
}

verdict() { # name, ok|FAILED
    echo "$1: $2"
    [ "$2" = ok ] || status=1
}

for model in docs/model/*.pml; do
    [ -e "$model" ] || { echo "spin: there is no model" >&2; exit 1; }
    if search "$model"; then verdict "$model" ok; else verdict "$model" FAILED; fi
    for mistake in $(grep -o 'MISTAKE_[A-Z0-9_]*' "$model" | sort -u); do
        search "$model" "-D$mistake"
        case $? in
        1) verdict "$model with $mistake is found" ok ;;
        *) verdict "$model with $mistake is found" FAILED ;;
        esac
    done
done
exit $status
