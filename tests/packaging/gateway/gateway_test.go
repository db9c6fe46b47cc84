// Package packaging is compiled inside of a copy of Envoy Gateway, because the code that it tests is internal: ../run.sh.
package packaging

import (
	"bytes"
	"io"
	"log"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	"google.golang.org/protobuf/proto"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"

	egv1a1 "github.com/envoyproxy/gateway/api/v1alpha1"
	"github.com/envoyproxy/gateway/internal/gatewayapi"
	"github.com/envoyproxy/gateway/internal/gatewayapi/resource"
	"github.com/envoyproxy/gateway/internal/logging"
	"github.com/envoyproxy/gateway/internal/wasm"
	"github.com/envoyproxy/gateway/internal/xds/bootstrap"
	"github.com/envoyproxy/gateway/internal/xds/translator"
	"github.com/envoyproxy/gateway/internal/xds/types"
	resourcev3 "github.com/envoyproxy/go-control-plane/pkg/resource/v3"
)

// root is the folder of the project.
var root = os.Getenv("TOLLBELL")

var quiet = logging.DefaultLogger(io.Discard, egv1a1.LogLevelInfo)

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// pushed pushes the image to a registry that lives as long as the test.
func pushed(t *testing.T) (reference, byDigest string) {
	t.Helper()
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	reference = strings.TrimPrefix(server.URL, "http://") + "/acme/tollbell:test"
	push := exec.Command("packaging/push.sh", reference)
	push.Dir = root
	push.Env = append(os.Environ(), "PLAIN_HTTP=1")
	printed, err := push.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, printed)
	}
	return reference, strings.TrimSpace(string(printed))
}

func cache(t *testing.T) *wasm.HTTPServer {
	t.Helper()
	options := wasm.CacheOptions{CacheDir: t.TempDir()}
	return wasm.NewHTTPServerWithFileCache(wasm.SeverOptions{Salt: []byte("x")}, options, "envoy-gateway-system", quiet)
}

// The cache of Envoy Gateway fetches the pushed image, and serves the module to Envoy.
func TestImageIsFetchedByEnvoyGateway(t *testing.T) {
	cache := cache(t)
	module := read(t, "dist/release/tollbell.wasm")
	reference, byDigest := pushed(t)
	for _, reference := range []string{reference, byDigest} {
		served, _, err := cache.Get("oci://"+reference, &wasm.GetOptions{ResourceName: reference, RequestTimeout: time.Minute})
		if err != nil {
			t.Fatalf("%s: %v", reference, err)
		}
		path, err := url.Parse(served)
		if err != nil {
			t.Fatal(err)
		}
		answer := httptest.NewRecorder()
		cache.ServeHTTP(answer, httptest.NewRequest("GET", path.Path, nil))
		if answer.Code != 200 || !bytes.Equal(answer.Body.Bytes(), []byte(module)) {
			t.Fatalf("%s: %d, %d bytes are not the module's %d", reference, answer.Code, answer.Body.Len(), len(module))
		}
	}
}

// Parts that only the cluster of a user has: the Service, and the certificate with which Envoy fetches the module.
const orders = `
apiVersion: v1
kind: Secret
metadata: { name: envoy, namespace: envoy-gateway-system }
type: kubernetes.io/tls
data: { tls.crt: eA==, tls.key: eA== }
---
apiVersion: v1
kind: Service
metadata: { name: orders, namespace: default }
spec:
  clusterIP: 10.0.0.1
  ports: [{ name: http, port: 8080, protocol: TCP, targetPort: 8080 }]
`

func objectOf(t *testing.T, message proto.Message) object {
	t.Helper()
	value, err := asObject(message)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

const made = `What Envoy Gateway makes of tollbell.yaml, for a proxy on this machine. ` + "`make test-packaging`" + ` compares this
file with the output of Envoy Gateway, and tests run it in Envoy. It lacks access logs. The module is a local file, the
upstream is on port 10001, and the receiver of webhooks is on port 10002.`

// translate returns what Envoy Gateway makes of manifests: the resources for the proxy, and the EnvoyProxy that it uses.
func translate(t *testing.T, manifests string) (*types.ResourceVersionTable, *egv1a1.EnvoyProxy) {
	t.Helper()
	manifests += "\n---\n" + read(t, "envoy/gateway/gateway.yaml") + "\n---\n" + orders
	resources, err := resource.LoadResourcesFromYAMLBytes([]byte(manifests), true, nil)
	if err != nil {
		t.Fatal(err)
	}
	// The loader takes any EnvoyProxy for that of the GatewayClass. The Gateway names this one.
	resources.EnvoyProxiesForGateways = []*egv1a1.EnvoyProxy{resources.EnvoyProxyForGatewayClass}
	resources.EnvoyProxyForGatewayClass = nil
	first := &gatewayapi.Translator{
		GatewayControllerName:   string(resources.GatewayClass.Spec.ControllerName),
		GatewayClassName:        gwapiv1.ObjectName(resources.GatewayClass.Name),
		EndpointRoutingDisabled: true,
		EnvoyPatchPolicyEnabled: true,
		BackendEnabled:          true,
		ControllerNamespace:     "envoy-gateway-system",
		WasmCache:               cache(t),
		Logger:                  quiet,
	}
	ir, err := first.Translate(resources)
	if err != nil {
		t.Fatal(err)
	}
	for _, policy := range ir.EnvoyExtensionPolicies {
		accepted(t, "EnvoyExtensionPolicy", &policy.Status)
	}
	if len(ir.XdsIR) != 1 {
		t.Fatalf("%d proxies", len(ir.XdsIR))
	}
	for name, xds := range ir.XdsIR {
		table, err := (&translator.Translator{Logger: quiet}).Translate(xds)
		if err != nil {
			t.Fatal(err)
		}
		for _, patched := range table.EnvoyPatchPolicyStatuses {
			accepted(t, "EnvoyPatchPolicy", patched.Status)
		}
		return table, ir.InfraIR[name].GetProxyInfra().GetProxyConfig()
	}
	return nil, nil
}

func accepted(t *testing.T, kind string, status *gwapiv1.PolicyStatus) {
	t.Helper()
	for _, ancestor := range status.Ancestors {
		for _, condition := range ancestor.Conditions {
			if condition.Status != "True" {
				t.Fatalf("%s: %s: %s", kind, condition.Type, condition.Message)
			}
		}
	}
}

// plugin returns the only filter with tollbell.
func plugin(t *testing.T, table *types.ResourceVersionTable) (listener object, filter object) {
	t.Helper()
	for _, found := range table.XdsResources[resourcev3.ListenerType] {
		listener = objectOf(t, found)
	}
	manager, err := manager(listener)
	if err != nil {
		t.Fatal(err)
	}
	for _, found := range manager["http_filters"].([]any) {
		if strings.Contains(at(found, "name").(string), "/tollbell/") {
			filter = found.(object)
		}
	}
	if filter == nil {
		t.Fatalf("no plugin: %v", manager["http_filters"])
	}
	return listener, filter
}

func TestPolicies(t *testing.T) {
	reference, _ := pushed(t)
	manifests := strings.ReplaceAll(read(t, "envoy/gateway/tollbell.yaml"), "registry.example.com/tollbell:0.1.0", reference)
	table, proxy := translate(t, manifests)
	listener, filter := plugin(t, table)
	if err := fromFile(filter); err != nil {
		t.Fatal(err)
	}
	var routes object
	for _, found := range table.XdsResources[resourcev3.RouteType] {
		routes = objectOf(t, found)
	}
	if err := onThisMachine(listener, routes); err != nil {
		t.Fatal(err)
	}
	manager, err := manager(listener)
	if err != nil {
		t.Fatal(err)
	}
	delete(listener, "access_log")
	delete(manager, "access_log")
	clusters := []any{}
	for _, name := range []string{"httproute/default/orders/rule/0", "tollbell_http", "tollbell_https"} {
		for _, found := range table.XdsResources[resourcev3.ClusterType] {
			if cluster := objectOf(t, found); cluster["name"] == name {
				clusters = append(clusters, cluster)
			}
		}
	}
	if len(clusters) != 3 {
		t.Fatalf("%d clusters", len(clusters))
	}
	reachedAt(clusters[0].(object), 10001)
	if err := written(filepath.Join(root, "envoy/gateway/envoy.yaml"), made, listener, clusters, stats(t, proxy)); err != nil {
		t.Fatal(err)
	}
}

// Envoy Gateway accepts the manifest of each example, and sets what the policy itself cannot say.
func TestExportedExamples(t *testing.T) {
	reference, _ := pushed(t)
	examples, err := filepath.Glob(filepath.Join(root, "examples/*/envoy.yaml"))
	if err != nil || len(examples) == 0 {
		t.Fatal("no examples", err)
	}
	for _, example := range examples {
		export := exec.Command(filepath.Join(root, "target/debug/tollbell"), "export", "--for", "envoy-gateway", "--config",
			example, "--image", reference)
		manifests, err := export.Output()
		if err != nil {
			t.Fatalf("%s: %v", example, err)
		}
		table, _ := translate(t, string(manifests))
		_, filter := plugin(t, table)
		config := at(filter, "typed_config/config")
		if at(config, "failure_policy") != "FAIL_RELOAD" {
			t.Fatalf("%s: not patched: %v", example, config)
		}
		isAdmin := strings.Contains(at(config, "configuration/value").(string), `"token_sha256"`)
		if isAdmin && at(config, "allow_on_headers_stop_iteration") != true {
			t.Fatalf("%s: not patched: %v", example, config)
		}
	}
}

// stats is the part of the bootstrap that Envoy Gateway makes of the EnvoyProxy.
func stats(t *testing.T, proxy *egv1a1.EnvoyProxy) object {
	t.Helper()
	rendered, err := bootstrap.GetRenderedBootstrapConfig(nil)
	if err != nil {
		t.Fatal(err)
	}
	merged, err := bootstrap.ApplyBootstrapConfig(proxy.Spec.Bootstrap, rendered)
	if err != nil {
		t.Fatal(err)
	}
	whole := object{}
	if err := yaml.Unmarshal([]byte(merged), &whole); err != nil {
		t.Fatal(err)
	}
	return object{"stats_tags": at(whole, "stats_config/stats_tags")}
}
