#!/bin/sh
# Builds the static library: build.sh CARGO RUSTC CARGO.TOML TARGET-FOLDER OUTPUT
#
# The versions are those of Cargo.lock; cargo fetches what it has not got. HYDAC_CARGO_TARGET names a
# folder that several build folders share, so that the crates are compiled once.
set -eu

cargo=$1 manifest=$3 target=${HYDAC_CARGO_TARGET:-$4} output=$5
RUSTC=$2
export RUSTC

# Two build folders that share it must not take each other's library: cargo goes by the files' times,
# and takes another checkout's crate for this one's.
mkdir -p "$target"
exec 9>"$target/hydac.lock"
flock 9
folder=$(dirname "$manifest")
made_of=$(cat "$manifest" "$folder/Cargo.lock" "$folder"/src/*.rs | sha256sum)
if [ "$made_of" != "$(cat "$target/hydac.made-of" 2>/dev/null)" ]; then
    rm -rf "$target"/release/.fingerprint/hydac[_-]text-*
    printf '%s\n' "$made_of" >"$target/hydac.made-of"
fi

"$cargo" build --quiet --release --locked --manifest-path "$manifest" --target-dir "$target"

# Rust's run time brings floor, fmaf, sqrt and so on of its own, which a static link would take for the
# C library's everywhere in the program: hydac's arithmetic is not to hang on what is linked beside it.
library=$target/release/libhydac_text.a renamed=$output.renamed
readelf -sW "$library" | awk '$4 == "FUNC" && $5 == "WEAK" && $6 == "HIDDEN" && $8 !~ /^_/ {
    print $8, "hydac_text_" $8 }' | sort -u >"$renamed"
objcopy --redefine-syms="$renamed" "$library" "$output"
