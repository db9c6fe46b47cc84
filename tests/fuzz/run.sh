#!/usr/bin/env bash
# Fuzzes each target for the given time, one after the other, or only one target: run.sh SECONDS [TARGET].
# An input that crashes a target is kept in target/fuzz/crashes. tests/fuzz/README.md says what to do with it.
set -euo pipefail
cd "$(dirname "$0")/../.."

seconds=$1
cargo_fuzz=${CARGO_FUZZ:-cargo-fuzz}
targets=$(cd tests/fuzz/fuzz_targets && for file in *.rs; do echo "${file%.rs}"; done)
if [ -n "${2:-}" ]; then
    grep -qx "$2" <<<"$targets" || { echo "no target has the name $2; the targets are" $targets >&2; exit 2; }
    targets=$2
fi

# Only wasmtime has unsafe code, so a sanitizer is not useful, and without one there are twice as many runs. Overflow
# checks and debug assertions are on.
"$cargo_fuzz" build --fuzz-dir tests/fuzz --target-dir target/fuzz --sanitizer none --codegen-units 16 ${2:+"$2"}
built=target/fuzz/$(rustc --version --verbose | sed -n 's/^host: //p')/release

words=target/fuzz/words
mkdir -p "$words" target/fuzz/crashes
grep -ohE '"[A-Za-z_@-]{3,}"' envoy/tollbell.schema.json | sort -u >"$words/configuration"
grep -ohE '\b[a-z_]{4,}:' envoy/envoy.yaml examples/*/envoy.yaml | sort -u | sed 's/.*/"&"/' >"$words/yaml"
grep -ohE '"[A-Za-z_-]{3,}"' -r tests/tyk --include='*.json' --include='*.conf' | sort -u >"$words/importer"
grep -ohE '"[A-Za-z_]{2,}"' plugin/core/src/observe/tests/samples.jsonl | sort -u >"$words/posted"
for words_of in bodies templates cookies paths requests; do
    [ ! -f "tests/fuzz/words/$words_of" ] || cp "tests/fuzz/words/$words_of" "$words/$words_of"
done

# Files of the project that are also seeds.
seed() { # TARGET FILE…
    local target=$1 file
    mkdir -p "target/fuzz/seeds/$target"
    for file in "${@:2}"; do cp "$file" "target/fuzz/seeds/$target/$(tr / _ <<<"$file")"; done
}
seed configuration tests/fuzz/src/targets/world.json
cat tests/tyk/tyk.conf <(printf "\n--\n") tests/tyk/apps/payments-oas.json <(printf "\n--\n\n--\n") tests/tyk/policies/policies.json \
    >target/fuzz/tyk
seed importer target/fuzz/tyk
seed yaml envoy/envoy.yaml examples/*/envoy.yaml
split -l 1 plugin/core/src/observe/tests/samples.jsonl "$words/../sample-"
seed posted target/fuzz/sample-*

failed=()
for target in $targets; do
    mkdir -p "target/fuzz/corpus/$target" "target/fuzz/seeds/$target" "target/fuzz/crashes/$target"
    options=()
    [ ! -f "$words/$target" ] || options+=("-dict=$words/$target")
    folders=("target/fuzz/corpus/$target" "target/fuzz/seeds/$target")
    for folder in seeds crashes; do
        [ ! -d "tests/fuzz/$folder/$target" ] || folders+=("tests/fuzz/$folder/$target")
    done
    log=target/fuzz/$target.log
    outcome=clean
    nice -n 10 "$built/$target" -max_total_time="$seconds" -timeout=5 -rss_limit_mb=1024 -max_len=16384 \
        -print_final_stats=1 -artifact_prefix="target/fuzz/crashes/$target/" "${options[@]}" "${folders[@]}" \
        >"$log" 2>&1 || outcome="CRASHED: see $log"
    [ "$outcome" = clean ] || failed+=("$target")
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    printf '%-14s %9s runs  %s\n' "$target" "${runs:-?}" "$outcome"
done
[ ${#failed[@]} -eq 0 ] || { echo "crashed: ${failed[*]}" >&2; exit 1; }
