#!/bin/sh
# meson install runs this: install-config.sh FOLDER FILE... copies settings that are not there yet,
# so that an upgrade leaves the administrator's alone.
set -eu

folder=${DESTDIR:-}$1
shift
mkdir -p "$folder"
for file in "$@"; do
    name=$(basename "$file")
    if [ -e "$folder/$name" ]; then
        echo "install-config.sh: $folder/$name is kept"
    else
        install -m 644 "$file" "$folder/$name"
    fi
done
