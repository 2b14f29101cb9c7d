#!/bin/sh
# The C file of an export as a worker of the benchmark (protocol.py), compiled with the given options.
#
#   with_c.sh SUFFIX OPTION…    the program is FILE.SUFFIX; with "again" as SUFFIX's first word, "ready" is not said
here=$(dirname "$0")
script=$here/with_c.sh
if [ "$1" = again ]; then
    shift
else
    compiler=${CC:-gcc}
    if ! version=$($compiler -dumpfullversion 2>/dev/null); then
        printf 'missing\tno %s\n' "$compiler"
        exit
    fi
    printf 'ready\t%s %s\n' "$compiler" "$version"
fi
suffix=$1
shift
tab=$(printf '\t')
while IFS=$tab read -r word workload form file; do
    case $word in
    load)
        direction=DECODE
        case $workload in *sample | *corrected) direction=SAMPLE ;; esac
        if [ ! -x "$file.$suffix" ] && ! ${CC:-gcc} -std=c99 "$@" -s -DHEADER="\"$file.h\"" -D$direction \
            "$here/exported.c" "$file.c" -o "$file.$suffix" -lm; then
            printf 'no\t%s does not compile %s.c\n' "${CC:-gcc}" "$file"
            continue
        fi
        exec "$file.$suffix" "$file" "$script" again "$suffix" "$@"
        ;;
    drop) echo ok ;;
    *) printf 'no\tnothing is loaded\n' ;;
    esac
done
