#!/bin/sh
# Fuzzes every target for a while, with the address and undefined-behaviour sanitizers.
#
#   tests/fuzz/run.sh [SECONDS] [TARGET ...]     default: 60 seconds each, all targets
#
#   HYDAC_FUZZ_BUILD   build folder (default: build-fuzz; needs clang)
#
# What is new goes to BUILD/fuzz/TARGET; an input that crashes stays as BUILD/fuzz/TARGET-crash-*:
# mend the cause, and keep the input in tests/fuzz/corpus/TARGET.
set -eu

top=$(cd "$(dirname "$0")/../.." && pwd)
build=${HYDAC_FUZZ_BUILD:-$top/build-fuzz}
seconds=${1:-60}
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- frame to_worker to_leader gguf safetensors torch model_config tokenizer config \
    request records tls

if [ ! -f "$build/build.ninja" ]; then
    CC=clang meson setup -Db_sanitize=address,undefined -Db_lundef=false -Doptimization=1 \
        -Dc_args=-fsanitize=fuzzer-no-link "$build" "$top"
fi
ninja -C "$build" fuzz

status=0
for target in "$@"; do
    mkdir -p "$build/fuzz/$target"
    echo "== $target"
    "$build/tests/fuzz/fuzz_$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 \
        -print_final_stats=1 -verbosity=0 -artifact_prefix="$build/fuzz/$target-" \
        "$build/fuzz/$target" "$top/tests/fuzz/corpus/$target" || status=1
done
exit $status
