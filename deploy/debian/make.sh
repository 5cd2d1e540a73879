#!/bin/sh
# Makes the Debian packages hydac-leader (with hydac, the command line) and hydac-worker:
#
#   deploy/debian/make.sh [options] [leader|worker]...    both, unless parts are named
#     --out DIR        where they go (default: build-debian)
#     --programs DIR   the programs of this build folder, instead of building them
#
# What a package depends on is what its program is linked with (dpkg-shlibdeps). DEBFULLNAME and
# DEBEMAIL name the maintainer.
set -eu

top=$(cd "$(dirname "$0")/../.." && pwd)
here=$top/deploy/debian
out=build-debian
programs=
parts=

die() {
    echo "make.sh: $*" >&2
    exit 1
}

usage() {
    sed -n '2,8s/^# \{0,1\}//p' "$0"
}

while [ $# -gt 0 ]; do
    case "$1" in
    --out | --programs)
        [ $# -ge 2 ] || die "$1 wants a folder; see --help"
        if [ "$1" = --out ]; then out=$2; else programs=$2; fi
        shift
        ;;
    leader | worker) parts="$parts $1" ;;
    -h | --help)
        usage
        exit 0
        ;;
    *) die "\"$1\" is neither a part nor an option; see --help" ;;
    esac
    shift
done
parts=${parts:-leader worker}
for tool in meson dpkg-deb dpkg-shlibdeps; do
    command -v $tool >/dev/null || die "$tool is missing: apt-get install meson dpkg-dev"
done

program_of() { # PART: its program below a build folder
    [ "$1" = leader ] && echo leader/daemon/hydac-leader || echo worker/hydac-worker
}

wants() {
    case " $parts " in *" $1 "*) echo true ;; *) echo false ;; esac
}

mkdir -p "$out"
out=$(cd "$out" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# ---- Build

build=$out/build
if [ -n "$programs" ]; then
    build=$work/build # only for what is not a program: the units' paths come from its prefix
fi
said=$(meson setup --prefix=/usr -Dtests=false -Dleader="$(wants leader)" \
    -Dworker="$(wants worker)" $([ ! -f "$build/build.ninja" ] || echo --reconfigure) \
    "$build" "$top" 2>&1) || die "meson setup failed: $said"
if [ -n "$programs" ]; then
    for part in $parts; do
        cp "$programs/$(program_of "$part")" "$build/$(program_of "$part")"
        [ "$part" = worker ] || cp "$programs/leader/ctl/hydac" "$programs/leader/ctl/hydac.bash" \
            "$build/leader/ctl/"
    done
else
    ninja -C "$build"
fi
version=$(meson introspect --projectinfo "$build" |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["version"])')

# ---- One package a part

fill_in() { # PART FILE: with the part's name in it
    sed "s/@part@/$1/g" "$here/$2"
}

# Files that both parts install get the part's name, so that one machine can have both packages.
apart() { # PART TREE
    mv "$2/usr/share/man/man5/hydac.yaml.5" "$2/usr/share/man/man5/hydac-$1.yaml.5"
    mv "$2/usr/lib/tmpfiles.d/hydac.conf" "$2/usr/lib/tmpfiles.d/hydac-$1.conf"
}

# The libraries' packages, in dpkg's words; it wants to be where a debian/control is.
depends() { # PART TREE
    mkdir -p "$work/$1.source/debian"
    printf 'Source: hydac\n\nPackage: hydac-%s\nArchitecture: any\n' "$1" \
        >"$work/$1.source/debian/control"
    (cd "$work/$1.source" && dpkg-shlibdeps -O "$2"/usr/bin/*) | sed -n 's/^shlibs:Depends=//p'
}

control() { # PART TREE
    fill_in "$1" "control.$1"
    printf 'Version: %s\nArchitecture: %s\nMaintainer: %s <%s>\nInstalled-Size: %s\nDepends: %s\n' \
        "$version" "$(dpkg --print-architecture)" "${DEBFULLNAME:-hydac}" \
        "${DEBEMAIL:-hydac@localhost}" "$(du -sk --exclude=DEBIAN "$2" | cut -f1)" \
        "$(depends "$1" "$2")"
}

for part in $parts; do
    tree=$work/$part
    DESTDIR=$tree meson install -C "$build" --no-rebuild --quiet --tags "$part,common" >/dev/null
    apart "$part" "$tree"
    strip "$tree"/usr/bin/*
    find "$tree/usr/share/man" -type f -exec gzip -9n {} +
    install -D -m 644 "$top/LICENSE" "$tree/usr/share/doc/hydac-$part/copyright"

    mkdir "$tree/DEBIAN"
    echo "/etc/hydac/$part.yaml" >"$tree/DEBIAN/conffiles"
    for script in postinst prerm postrm; do
        fill_in "$part" $script >"$tree/DEBIAN/$script"
        chmod 755 "$tree/DEBIAN/$script"
    done
    control "$part" "$tree" >"$work/control"
    mv "$work/control" "$tree/DEBIAN/control"
    find "$tree" -type d -exec chmod 755 {} +
    dpkg-deb --root-owner-group --build "$tree" "$out"
done
