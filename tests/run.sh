#!/bin/sh
# Installs what is missing, builds hydac, runs every test. The last line is "N passed, N failed";
# the exit status is 0 only if nothing failed.
#
#   tests/run.sh                  everything but what --deploy adds
#   tests/run.sh --quick          a minute and a half, for the inner loop: the unit tests but for the
#                                 longest, and those of pytest's that are marked quick
#   tests/run.sh --unit-only      only what meson runs: unit tests and the simulated cluster
#   tests/run.sh --asan           those, built with the address and undefined-behaviour sanitizers
#   tests/run.sh -k EXPRESSION    only pytest's tests (golden, integration, ...) whose names match
#   tests/run.sh --deploy         only tests/deploy, with those that boot machines and build images
#                                 (root, minutes; they are left out otherwise)
#   tests/run.sh --browser        only tests/browser: the page in a headless Chromium (installed; it
#                                 needs SmolLM2)
#   tests/run.sh --bare           README's two commands in a container of a bare Debian 12, with the
#                                 times (root, docker, half an hour)
#     --no-install    the packages are there (no apt-get, no network)
#     --build DIR     build folder (default: build, or build-asan)
#
#   HYDAC_GOLDEN    folder of further reference models (default: ../shared/golden, if there)
#   HYDAC_SMOLLM2   SmolLM2-135M-Instruct.Q4_1.gguf (default: deploy/get-model.sh fetches it)
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
install=yes
build=
asan=no
binaries=yes
deploy=no
browser=no
bare=no
quick=no
match=

usage() {
    sed -n '2,21s/^# \{0,1\}//p' "$0"
}

while [ $# -gt 0 ]; do
    case "$1" in
    --quick)
        quick=yes
        install=no
        ;;
    --unit-only) binaries=no ;;
    --asan)
        asan=yes
        binaries=no
        ;;
    --deploy) deploy=yes ;;
    --browser) browser=yes ;;
    --bare) bare=yes ;;
    --no-install) install=no ;;
    --build | -k)
        [ $# -ge 2 ] || {
            usage >&2
            exit 2
        }
        if [ "$1" = -k ]; then match=$2; else build=$2; fi
        shift
        ;;
    -h | --help)
        usage
        exit 0
        ;;
    *)
        usage >&2
        exit 2
        ;;
    esac
    shift
done

say() {
    printf '\n== %s\n' "$*"
}

cd "$top"
[ $install = no ] || deploy/packages.sh all
[ $install = no ] || [ $deploy$bare = nono ] || deploy/packages.sh deploy
[ $install = no ] || [ $browser = no ] || deploy/packages.sh browser
if [ $bare = yes ]; then
    export PYTHONDONTWRITEBYTECODE=1
    exec /usr/bin/python3 tests/deploy/bare.py
fi

# ---- Build

if [ $asan = yes ]; then
    build=${build:-build-asan}
    # clang: gcc 12 needs minutes for each instrumented kernel file. Without -Wl,-z,defs since the
    # sanitizers' symbols come with the executable.
    CC=clang
    options="-Dwerror=true -Db_sanitize=address,undefined -Db_lundef=false -Doptimization=1"
    export LSAN_OPTIONS="${LSAN_OPTIONS:-suppressions=$top/tests/lsan.supp:print_suppressions=0}"
    export ASAN_OPTIONS="${ASAN_OPTIONS:-detect_leaks=1:abort_on_error=1}"
    export UBSAN_OPTIONS="${UBSAN_OPTIONS:-halt_on_error=1:abort_on_error=1:print_stacktrace=1}"
else
    build=${build:-build}
    options=
fi
say "Build in $build"
if [ -f "$build/build.ninja" ]; then
    # Configured before a package came? Then look for it again.
    meson setup --reconfigure -Dleader=true -Dworker=true -Dtests=true "$build" >/dev/null
else
    # shellcheck disable=SC2086 # options are words
    CC=${CC:-gcc} meson setup $options "$build"
fi
if ! ninja -C "$build"; then
    echo "the build failed"
    echo "0 passed, 1 failed"
    exit 1
fi

results=$build/test-results
rm -rf "$results"
mkdir -p "$results"

# ---- Models from outside

notes=
if [ -z "${HYDAC_GOLDEN:-}" ] && [ -d ../shared/golden ]; then
    HYDAC_GOLDEN=$(cd ../shared/golden && pwd)
    export HYDAC_GOLDEN
fi
[ -n "${HYDAC_GOLDEN:-}" ] ||
    notes="run without the shared reference models (HYDAC_GOLDEN): their tests were skipped"
if [ -z "${HYDAC_SMOLLM2:-}" ] && [ $quick = no ]; then
    if HYDAC_SMOLLM2=$(deploy/get-model.sh); then
        export HYDAC_SMOLLM2
    else
        unset HYDAC_SMOLLM2
        notes="$notes
run without SmolLM2 (it could not be fetched): its tests were skipped"
    fi
fi

# ---- Unit tests, simulated cluster

if [ -z "$match" ] && [ $deploy$browser = nono ]; then
    say "Unit tests and simulated cluster"
    rm -f "$build/meson-logs/testlog.json"
    selected="--no-suite short"
    [ $quick = no ] || selected="--no-suite slow"
    # shellcheck disable=SC2086 # options are words
    meson test -C "$build" --no-rebuild --print-errorlogs $selected || true
    cp "$build/meson-logs/testlog.json" "$results/meson.json" || touch "$results/unit.broken"
fi

# ---- Golden values, real binaries

run_pytest() { # NAME [OPTION...]: the folder and the name of its results
    say "tests/$1"
    name=$1
    shift
    status=0
    # Debian's own Python has the pytest that packages.sh installs.
    /usr/bin/python3 -m pytest -p no:cacheprovider -q -rsx "tests/$name" \
        --junitxml="$results/$name.xml" ${match:+-k "$match"} $marked "$@" || status=$?
    # 5: nothing was selected, which only -k may cause
    case $status in
    0 | 1) ;;
    5) [ -n "$match$marked" ] || touch "$results/$name.broken" ;;
    *) touch "$results/$name.broken" ;;
    esac
}

marked=
[ $quick = no ] || marked="-m quick"
# Most of these wait for processes rather than compute: two files at a time. Models are made once by
# each of the two.
pairs="-n 2 --dist loadfile"
if [ $binaries = yes ]; then
    HYDAC_BUILD=$(cd "$build" && pwd)
    export HYDAC_BUILD
    export PYTHONDONTWRITEBYTECODE=1
    # shellcheck disable=SC2086 # options are words
    if [ $deploy = yes ]; then
        HYDAC_DEPLOY=1
        export HYDAC_DEPLOY
        run_pytest deploy
    elif [ $browser = yes ]; then
        run_pytest browser
    elif [ $quick = yes ]; then
        run_pytest house
        run_pytest golden $pairs
        run_pytest integration $pairs
    else
        run_pytest house
        run_pytest golden $pairs
        run_pytest integration $pairs
        run_pytest deploy
        run_pytest chaos
        run_pytest bench
    fi
fi

say "Summary"
[ -z "$notes" ] || printf '%s\n' "$notes" | sed '/^$/d'
exec /usr/bin/python3 tests/summary.py "$results"
