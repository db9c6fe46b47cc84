#!/usr/bin/env bash
# Rehearses a month of requests, a tenth of them in one minute, and compares the results with an independent
# calculation. Prints the time and the memory of the rehearsal. $TOLLBELL names another command than the release build.
set -euo pipefail
requests=$1
command=${TOLLBELL:-target/release/tollbell}
folder=target/tmp/rehearsal
mkdir -p "$folder"
script() { python3 tests/verify/access_log.py "$1" --requests "$requests" --burst $((requests / 10)) "${@:2}"; }

[ -f "$folder/$requests.log.gz" ] || {
    echo "writing the log" >&2
    script write --out "$folder/$requests.part.gz"
    mv "$folder/$requests.part.gz" "$folder/$requests.log.gz"
}
script configuration --envoy > "$folder/envoy.json"
echo "rehearsing it" >&2
python3 - "$command" rehearse --config "$folder/envoy.json" --log "$folder/$requests.log.gz" --key-field api_key --json \
    --out "$folder/report.html" > "$folder/results.json" << 'END'
import resource, subprocess, sys, time
start = time.monotonic()
status = subprocess.call(sys.argv[1:])
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(f"{time.monotonic() - start:.1f} s, {used.ru_utime + used.ru_stime:.1f} s of processor time, "
      f"{used.ru_maxrss // 1024} MiB", file=sys.stderr)
sys.exit(status)
END
echo "calculating it" >&2
script check --results "$folder/results.json"
