#!/bin/sh
# embed.sh OUT FILE...: writes C that carries the files as they are. Names are the paths below kinds/.
set -e
out=$1; shift
{
    echo '#include "api/embedded.h"'
    n=0
    for file; do
        echo "extern const char embedded_$n[], embedded_${n}_end[];"
        printf '__asm__(".section .rodata\\n.global embedded_%s, embedded_%s_end\\nembedded_%s:\\n.incbin \\"%s\\"\\nembedded_%s_end:\\n.byte 0\\n.previous\\n");\n' \
            $n $n $n "$file" $n
        n=$((n + 1))
    done
    echo 'const struct embedded_file embedded_kinds[] = {'
    n=0
    for file; do
        name=${file##*/}
        case $file in */defs/*) name=defs/$name ;; */initial/*) name=initial/$name ;; esac
        echo "    {\"$name\", embedded_$n, embedded_${n}_end},"
        n=$((n + 1))
    done
    echo '    {0},'
    echo '};'
} >"$out"
