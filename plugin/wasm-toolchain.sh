# Finds or installs a toolchain for wasm32-unknown-unknown. Source this script from the project's folder.
#
# The script sets WASM_CARGO_FLAGS for tests and guests, MODULE_CARGO_FLAGS and MODULE_RUSTFLAGS for the filter, and the
# environment for cargo. It prints on standard error which of these ways it uses:
#   1. The target is already installed, by rustup or in another way.
#   2. rustup installs the target.
#   3. Debian's rustc-web and rust-web-src are installed, and cargo builds the library from source.
# If the source of the standard library is available, or rustup can download it, the filter gets its own build of the
# library: it is built for size, and a panic ends the VM immediately, without a message that no operator would see.
target=wasm32-unknown-unknown
WASM_CARGO_FLAGS="--locked --target $target --target-dir target/wasm"
# Names of functions are a sixth of a module, and `strip` in the profile does not remove them.
MODULE_RUSTFLAGS="${RUSTFLAGS:-} -Cstrip=symbols"
sysroot=$(rustc --print sysroot)
no_source=target/wasm/no-rust-src

has_target() { ls "$sysroot/lib/rustlib/$target/lib/"libstd-*.rlib >/dev/null 2>&1; }

has_source() { [ -f "$sysroot/lib/rustlib/src/rust/library/Cargo.lock" ]; }

# If rustup cannot reach its server, it must not wait without limit.
rustup_adds() {
    command -v rustup >/dev/null || return 1
    if command -v timeout >/dev/null; then timeout 120 rustup "$@"; else rustup "$@"; fi >/dev/null 2>&1
}

# Tries only once. Without a network, each build would otherwise wait.
rustup_adds_source() {
    [ ! -e "$no_source" ] || return 1
    rustup_adds component add rust-src && has_source && return
    mkdir -p "${no_source%/*}" && touch "$no_source"
    return 1
}

debian_packages() {
    [ -x /usr/bin/rustc ] && dpkg-query --show rustc-web rust-web-src >/dev/null 2>&1 && return
    command -v apt-get >/dev/null || return 1
    as_root=
    [ "$(id -u)" = 0 ] || as_root="sudo -n"
    $as_root apt-get update -qq >&2 && $as_root apt-get install -qq -y --no-install-recommends rustc-web rust-web-src >&2
}

# Older compilers have another name for this setting.
can_abort_at_once() {
    RUSTC_BOOTSTRAP=1 "${RUSTC:-rustc}" --target "$target" -Zunstable-options -Cpanic=immediate-abort --print cfg \
        >/dev/null 2>&1
}

if has_target; then
    echo "wasm: using the installed target $target" >&2
elif rustup_adds target add "$target" && has_target; then
    echo "wasm: rustup installed the target $target" >&2
elif lld=$(ls "$sysroot"/lib/rustlib/*/bin/rust-lld 2>/dev/null | head -n 1) && [ -n "$lld" ] && debian_packages; then
    echo "wasm: building the standard library for $target with Debian's rustc-web" >&2
    export RUSTC=/usr/bin/rustc RUSTDOC=/usr/bin/rustdoc RUSTC_BOOTSTRAP=1
    export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER="$lld"
    sysroot=$($RUSTC --print sysroot)
    WASM_CARGO_FLAGS="$WASM_CARGO_FLAGS -Zbuild-std=std,panic_abort"
else
    echo "wasm: no way to compile for $target." >&2
    echo "wasm: run 'rustup target add $target', or on Debian 'apt-get install rustc-web rust-web-src' as root." >&2
    exit 1
fi

MODULE_CARGO_FLAGS="$WASM_CARGO_FLAGS --profile module"
MODULE_STD=installed
if can_abort_at_once && { has_source || rustup_adds_source; }; then
    # Set this for every build, because cargo compiles macros again if it changes.
    export RUSTC_BOOTSTRAP=1
    MODULE_CARGO_FLAGS="$MODULE_CARGO_FLAGS -Zbuild-std=std,panic_abort -Zbuild-std-features=optimize_for_size"
    MODULE_RUSTFLAGS="$MODULE_RUSTFLAGS -Zunstable-options -Cpanic=immediate-abort -Zlocation-detail=none"
    MODULE_STD=rebuilt
else
    echo "wasm: no source of the standard library; run 'rustup component add rust-src' for a smaller filter" >&2
fi
