#!/bin/sh
# Makes a module smaller with Binaryen's wasm-opt, which is from npm or from PATH. If there is none, copies the module.
# Usage, in the project's folder: wasm-opt.sh FROM TO. Prints the version of wasm-opt, for dist/build.txt.
set -eu
version=132.0.0
folder=.tools/binaryen-$version
wasm_opt=$folder/node_modules/.bin/wasm-opt

# If npm cannot reach its registry, it must not wait without limit.
get() {
    command -v npm >/dev/null || return 1
    mkdir -p "$folder"
    set -- npm install --silent --no-audit --no-fund --prefix "$folder" "binaryen@$version"
    if command -v timeout >/dev/null; then timeout 120 "$@"; else "$@"; fi >/dev/null 2>&1
}

[ -e "$wasm_opt" ] || get || wasm_opt=$(command -v wasm-opt) || wasm_opt=
if [ -z "$wasm_opt" ]; then
    echo "wasm: neither npm nor wasm-opt is available: the filter becomes larger" >&2
    cp "$1" "$2"
    echo "wasm-opt: none"
    exit
fi
# Enable only the features that rustc emits by default, so that no host needs more. The first KiB of the memory is the
# end of the stack, and no pointer points there.
"$wasm_opt" -Oz --low-memory-unused --enable-bulk-memory --enable-mutable-globals --enable-nontrapping-float-to-int --enable-sign-ext \
    --enable-reference-types --enable-multivalue "$1" -o "$2"
echo "wasm-opt: $("$wasm_opt" --version)"
