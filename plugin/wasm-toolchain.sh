# Finds or makes a way to compile for wasm32-unknown-unknown. To be sourced from the project's folder.
#
# Sets WASM_CARGO_FLAGS, and the environment that cargo needs, and says on standard error which way it took:
#   1. rustup's target is installed, or rustc has the target's library otherwise;
#   2. rustup installs it;
#   3. Debian's rustc-web and rust-web-src are installed, and the library is built from source.
target=wasm32-unknown-unknown
WASM_CARGO_FLAGS="--locked --target $target --target-dir target/wasm"
sysroot=$(rustc --print sysroot)

has_target() { ls "$sysroot/lib/rustlib/$target/lib/"libstd-*.rlib >/dev/null 2>&1; }

# Where rustup cannot reach its server, it must not wait for ever.
rustup_adds_target() {
    command -v rustup >/dev/null || return 1
    if command -v timeout >/dev/null; then timeout 120 rustup target add "$target"; else rustup target add "$target"; fi >/dev/null 2>&1
}

debian_packages() {
    [ -x /usr/bin/rustc ] && dpkg-query --show rustc-web rust-web-src >/dev/null 2>&1 && return
    command -v apt-get >/dev/null || return 1
    as_root=
    [ "$(id -u)" = 0 ] || as_root="sudo -n"
    $as_root apt-get update -qq >&2 && $as_root apt-get install -qq -y --no-install-recommends rustc-web rust-web-src >&2
}

if has_target; then
    echo "wasm: using the installed target $target" >&2
elif rustup_adds_target && has_target; then
    echo "wasm: rustup installed the target $target" >&2
elif lld=$(ls "$sysroot"/lib/rustlib/*/bin/rust-lld 2>/dev/null | head -n 1) && [ -n "$lld" ] && debian_packages; then
    echo "wasm: building the standard library for $target with Debian's rustc-web" >&2
    export RUSTC=/usr/bin/rustc RUSTDOC=/usr/bin/rustdoc RUSTC_BOOTSTRAP=1
    export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER="$lld"
    WASM_CARGO_FLAGS="$WASM_CARGO_FLAGS -Zbuild-std=std,panic_abort"
else
    echo "wasm: no way to compile for $target." >&2
    echo "wasm: run 'rustup target add $target', or on Debian 'apt-get install rustc-web rust-web-src' as root." >&2
    exit 1
fi
