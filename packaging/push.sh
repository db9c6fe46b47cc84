#!/usr/bin/env bash
# Pushes the OCI image of `make dist` to a registry: packaging/push.sh registry.example.com/tollbell:0.1.0
# Uses the first of skopeo, oras and crane that is installed, with the credentials of `docker login` or of the tool's own
# login. With PLAIN_HTTP=1, the registry needs no TLS, which is only for a registry on this machine.
set -eu -o pipefail
cd "$(dirname "$0")/.."

ref=${1:?name the image to push, such as registry.example.com/tollbell:0.1.0}
layout=${LAYOUT:-dist/release/oci}
[ -f "$layout/index.json" ] || { echo "$layout does not exist: run 'make dist'" >&2; exit 1; }
tag=$(sed -n 's/.*"org.opencontainers.image.ref.name": "\(.*\)".*/\1/p' "$layout/index.json")
digest=$(sed -n 's/.*"digest": "\(.*\)".*/\1/p' "$layout/index.json")
plain() { [ "${PLAIN_HTTP:-}" != 1 ] || echo "$1"; }

if command -v skopeo >/dev/null; then
    skopeo copy --quiet --preserve-digests $(plain --dest-tls-verify=false) "oci:$layout:$tag" "docker://$ref"
elif command -v oras >/dev/null; then
    oras copy --no-tty --from-oci-layout $(plain --to-plain-http) "$layout:$tag" "$ref" >/dev/null
elif command -v crane >/dev/null; then
    crane push $(plain --insecure) "$layout" "$ref" >/dev/null
else
    echo "pushing needs skopeo, oras or crane; on Debian run 'apt-get install skopeo' as root" >&2
    exit 1
fi
# A name without its tag: the last colon is a tag's only after the last slash.
repository=${ref%%@*}
case ${repository##*/} in *:*) repository=${repository%:*} ;; esac
echo "$repository@$digest"
