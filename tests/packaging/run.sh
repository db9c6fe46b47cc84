#!/usr/bin/env bash
# Checks the release: the module is the same if it is built in another folder, and Istio and Envoy Gateway themselves
# fetch the image and accept the manifests. `make test-packaging` runs this. With UPDATE=1, it writes the configurations
# that the two make of the manifests (envoy/istio/envoy.yaml and others) instead of comparing them.
set -eu -o pipefail
cd "$(dirname "$0")/../.."
. tests/guests/go-toolchain.sh
gateway=github.com/envoyproxy/gateway
gateway_version=$(sed -n 's|^gateway=.*@||p' tests/install-manifest-schemas.sh)

echo "== the module, built in another folder"
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
git ls-files -z | xargs -0 cp --parents --target-directory "$copy"
ln -s "$PWD/.tools" "$copy/.tools"
make --no-print-directory -C "$copy" build
cmp dist/tollbell.wasm "$copy/dist/tollbell.wasm"

echo "== the image and the manifests, by Istio"
(cd tests/packaging && "$GO" test -count=1 .)

# Go allows the use of an internal package only within its module.
echo "== the image and the policies, by Envoy Gateway"
"$GO" mod download "$gateway@$gateway_version"
source=.tools/envoy-gateway-${gateway_version#v}
[ -d "$source" ] || { cp -r "$GOMODCACHE/$gateway@$gateway_version" "$source" && chmod -R u+w "$source"; }
mkdir -p "$source/internal/tollbell"
cp tests/packaging/written.go tests/packaging/gateway/gateway_test.go "$source/internal/tollbell"
TOLLBELL=$PWD "$GO" test -C "$source" -mod=mod -count=1 ./internal/tollbell

echo "== the files of Kubernetes, by kustomize"
"$GO" run sigs.k8s.io/kustomize/kustomize/v5@v5.8.0 build envoy/kubernetes > "$copy/kubernetes.yaml"
grep --quiet "name: envoy-tollbell-" "$copy/kubernetes.yaml"
grep --quiet "image: registry.example.com/envoy-tollbell:0.1.0" "$copy/kubernetes.yaml"
