#!/bin/sh
# Builds the static library: build.sh CARGO RUSTC CARGO.TOML TARGET-FOLDER OUTPUT
#
# The versions are those of Cargo.lock; cargo fetches what it has not got. HYDAC_CARGO_TARGET names a
# folder that several build folders share, so that the crates are compiled once.
set -eu

cargo=$1 manifest=$3 target=${HYDAC_CARGO_TARGET:-$4} output=$5
RUSTC=$2
export RUSTC

"$cargo" build --quiet --release --locked --manifest-path "$manifest" --target-dir "$target"
cp "$target/release/libhydac_text.a" "$output"
