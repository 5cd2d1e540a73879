#!/bin/sh
# Installs what hydac needs on Debian 12 (or a system with the same package names), if it is missing.
#
#   deploy/packages.sh run      what the installed programs need
#   deploy/packages.sh build    compiler, libraries, and what fetches the default model (without
#                               tests: meson setup -Dtests=false)
#   deploy/packages.sh test     what the tests need besides
#   deploy/packages.sh check    what .ci/run needs besides: other compilers, an emulator, the formatter
#   deploy/packages.sh all      all of the above
#   deploy/packages.sh deploy   what tests/run.sh --deploy needs besides: machines and containers, and
#                               servers (prometheus, nginx, haproxy) that Debian starts at once
#   deploy/packages.sh browser  what tests/run.sh --browser needs besides
#   deploy/packages.sh --list KIND   only print the names
#
# Nothing happens when all of them are there; otherwise apt-get is called, through sudo for a user
# who is not root.
set -eu

run="
libuv1 libprotobuf-c1 libyaml-0-2 libxxhash0 libjansson4 libmicrohttpd12 libsystemd0
libcurl4 libssl3 libedit2"
build="
gcc libc6-dev meson ninja-build pkg-config
libuv1-dev libprotobuf-c-dev protobuf-c-compiler libyaml-dev libxxhash-dev
libjansson-dev libmicrohttpd-dev libsystemd-dev libcurl4-openssl-dev
libssl-dev libedit-dev opencl-c-headers python3 python3-pip ca-certificates cargo-web rustc-web"
test="
libopenblas-dev libcriterion-dev pocl-opencl-icd ocl-icd-libopencl1 dpkg-dev python3-pytest python3-pytest-xdist python3-yaml openssl iproute2 nftables valgrind gdb"
check="
clang clang-format libclang-rt-14-dev
gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user"

deploy="
debootstrap systemd-container docker.io docker-compose prometheus nginx-light haproxy mandoc"

browser="
chromium chromium-driver python3-selenium"

usage() {
    echo "usage: deploy/packages.sh [--list] run|build|test|check|all|deploy|browser" >&2
    exit 2
}

only_list=no
if [ "${1:-}" = --list ]; then
    only_list=yes
    shift
fi
case "${1:-all}" in
run) wanted=$run ;;
build) wanted=$build ;;
test) wanted=$test ;;
check) wanted=$check ;;
all) wanted="$run $build $test $check" ;;
deploy) wanted=$deploy ;;
browser) wanted=$browser ;;
*) usage ;;
esac
[ $# -le 1 ] || usage

if [ $only_list = yes ]; then
    for package in $wanted; do
        echo "$package"
    done
    exit 0
fi

if ! command -v dpkg-query >/dev/null 2>&1 || ! command -v apt-get >/dev/null 2>&1; then
    echo "packages.sh: not a Debian system; install the equivalents of these yourself:" >&2
    echo "$wanted" >&2
    exit 1
fi

missing=
for package in $wanted; do
    state=$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || true)
    [ "$state" = "install ok installed" ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

as_root=
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null 2>&1; then
        echo "packages.sh: these packages are missing; install them as root:$missing" >&2
        exit 1
    fi
    as_root=sudo
fi

echo "packages.sh: installing$missing" >&2
$as_root apt-get update -q
# shellcheck disable=SC2086 # a list of names is meant to be split
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing
