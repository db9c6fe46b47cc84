#!/bin/sh
# Makes a module smaller with Binaryen's wasm-opt, from npm or else from PATH; without either it is copied.
# Usage, in the project's folder: wasm-opt.sh FROM TO. Prints which it was, for dist/build.txt.
set -eu
version=132.0.0
folder=.tools/binaryen-$version
wasm_opt=$folder/node_modules/.bin/wasm-opt

# Where npm cannot reach its registry, it must not wait for ever.
get() {
    command -v npm >/dev/null || return 1
    mkdir -p "$folder"
    set -- npm install --silent --no-audit --no-fund --prefix "$folder" "binaryen@$version"
    if command -v timeout >/dev/null; then timeout 120 "$@"; else "$@"; fi >/dev/null 2>&1
}

[ -e "$wasm_opt" ] || get || wasm_opt=$(command -v wasm-opt) || wasm_opt=
if [ -z "$wasm_opt" ]; then
    echo "wasm: neither npm nor wasm-opt is there: the filter gets larger" >&2
    cp "$1" "$2"
    echo "wasm-opt: none"
    exit
fi
# Only what rustc emits by default, so that no host needs to know more than before. The first KiB is the end of the stack,
# at which nothing points.
"$wasm_opt" -Oz --low-memory-unused --enable-bulk-memory --enable-mutable-globals --enable-nontrapping-float-to-int --enable-sign-ext \
    --enable-reference-types --enable-multivalue "$1" -o "$2"
echo "wasm-opt: $("$wasm_opt" --version)"
