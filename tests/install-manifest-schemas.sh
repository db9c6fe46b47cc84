#!/usr/bin/env bash
# Installs the definitions of the Kubernetes resources in envoy/istio, envoy/gateway and envoy/kubernetes, as their
# projects release them. They are files of Go modules; nothing is compiled. The first argument is the folder for them.
set -eu -o pipefail
folder=$1
istio=istio.io/api@v1.32.0
gateway=github.com/envoyproxy/gateway@v1.7.0
kubernetes=k8s.io/kubectl@v0.35.0

. tests/guests/go-toolchain.sh
"$GO" mod download "$istio" "$gateway" "$kubernetes"
rm -rf "$folder" && mkdir -p "$folder"
cp "$GOMODCACHE/$istio/kubernetes/customresourcedefinitions.gen.yaml" "$folder/istio.yaml"
for name in envoyextensionpolicies envoypatchpolicies envoyproxies; do
    cp "$GOMODCACHE/$gateway/charts/gateway-helm/crds/generated/gateway.envoyproxy.io_$name.yaml" "$folder/$name.yaml"
done
cp "$GOMODCACHE/$gateway/charts/gateway-helm/crds/gatewayapi-crds.yaml" "$folder/gateway-api.yaml"
cp "$GOMODCACHE/$kubernetes/testdata/openapi/v3/api/v1.json" "$folder/core.json"
cp "$GOMODCACHE/$kubernetes/testdata/openapi/v3/apis/apps/v1.json" "$folder/apps.json"
chmod -R u+w "$folder"
