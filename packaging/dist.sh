#!/usr/bin/env bash
# Fills dist/release, for `make dist`: the module, the command for this machine, what both are made of, the OCI image, and
# SHA256SUMS. `make` has built the module and the command. The first argument is the folder with cargo-cyclonedx.
set -eu -o pipefail
cd "$(dirname "$0")/.."
cyclonedx=$1
release=dist/release
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
machine=$(rustc --version --verbose | sed -n 's/^host: //p')

# The bills of materials have no time and no random number, so the same sources give the same files.
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
sbom() {
    PATH="$cyclonedx:$PATH" cargo cyclonedx --quiet --format json --spec-version 1.5 --target "$2" \
        --override-filename bom.cdx --manifest-path "$1/Cargo.toml"
    # The folder of the clone is of no use to others.
    sed "s|file://$PWD/|file:///tollbell/|g" "$1/bom.cdx.json" > "$3"
    # It writes a file for each crate of the workspace.
    find . -name bom.cdx.json -not -path './target/*' -not -path './.tools/*' -delete
}

cp "target/release/tollbell" "$release/tollbell-$version-$machine"
sbom plugin/filter wasm32-unknown-unknown "$release/tollbell.wasm.cdx.json"
sbom plugin/cli "$machine" "$release/tollbell-$version-$machine.cdx.json"
cd "$release"
rm -f SHA256SUMS
files=$(find . -maxdepth 1 -type f -name 'tollbell*' | LC_ALL=C sort | sed 's|^\./||')
if command -v sha256sum >/dev/null; then sha256sum $files; else shasum -a 256 $files; fi > SHA256SUMS
cat SHA256SUMS
