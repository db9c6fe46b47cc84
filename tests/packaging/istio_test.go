package packaging

import (
	"bytes"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	"google.golang.org/protobuf/proto"
	"sigs.k8s.io/yaml"

	"istio.io/istio/pilot/pkg/model"
	"istio.io/istio/pilot/test/xds"
	"istio.io/istio/pkg/config/crd"
	"istio.io/istio/pkg/test/util/retry"
	"istio.io/istio/pkg/wasm"
)

const root = "../.."

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Istio's agent fetches the pushed image, and gets the module.
func TestImageIsFetchedByIstio(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	reference := strings.TrimPrefix(server.URL, "http://") + "/acme/tollbell:test"
	push := exec.Command("packaging/push.sh", reference)
	push.Dir = root
	push.Env = append(os.Environ(), "PLAIN_HTTP=1")
	printed, err := push.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, printed)
	}
	cache := wasm.NewLocalFileCache(t.TempDir(), wasm.Options{})
	defer cache.Cleanup()
	module := read(t, "dist/release/tollbell.wasm")
	// By its tag, and by the digest that the script prints.
	for _, reference := range []string{reference, strings.TrimSpace(string(printed))} {
		file, err := cache.Get("oci://"+reference, wasm.GetOptions{ResourceName: reference, RequestTimeout: time.Minute})
		if err != nil {
			t.Fatalf("%s: %v", reference, err)
		}
		fetched, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(fetched, []byte(module)) {
			t.Fatalf("%s: %d bytes are not the module's %d", reference, len(fetched), len(module))
		}
	}
}

// The validator of a Kubernetes API server, with the rules of the definitions that JSON Schemas cannot express.
func validator(t *testing.T) *crd.Validator {
	t.Helper()
	definitions, err := filepath.Glob(filepath.Join(root, ".tools/manifest-schemas/*.yaml"))
	if err != nil || len(definitions) == 0 {
		t.Fatal("no definitions; run.sh installs them", err)
	}
	validator, err := crd.NewValidatorFromFiles(definitions...)
	if err != nil {
		t.Fatal(err)
	}
	return validator
}

func TestManifestsAreValid(t *testing.T) {
	validator := validator(t)
	count := 0
	for _, file := range []string{
		"envoy/istio/tollbell.yaml", "envoy/istio/envoyfilter.yaml", "envoy/istio/gateway.yaml",
		"envoy/gateway/tollbell.yaml", "envoy/gateway/gateway.yaml",
	} {
		for _, document := range strings.Split(read(t, file), "\n---\n") {
			if err := validator.ValidateCustomResourceYAML(document, nil); err != nil {
				t.Errorf("%s: %v\n%s", file, err, document)
			}
			count++
		}
	}
	if count < 10 {
		t.Fatalf("only %d manifests", count)
	}
	wrong := strings.Replace(read(t, "envoy/istio/tollbell.yaml"), "url: oci://", "url: ftp://", 1)
	if validator.ValidateCustomResourceYAML(strings.Split(wrong, "\n---\n")[0], nil) == nil {
		t.Fatal("a wrong manifest is valid")
	}
}

// A part that only the cluster of a user has.
const orders = `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: orders, namespace: default }
spec:
  hosts: [orders.default.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{ number: 8080, name: http, protocol: HTTP }]
  endpoints: [{ address: 10.0.0.1 }]
`

// labels are the statistics' tags of the bootstrap that labels.yaml adds to.
func labels(t *testing.T) object {
	t.Helper()
	manifest, bootstrap := object{}, object{}
	if err := yaml.Unmarshal([]byte(read(t, "envoy/istio/labels.yaml")), &manifest); err != nil {
		t.Fatal(err)
	}
	data, _ := at(manifest, "data/custom_bootstrap.json").(string)
	if err := yaml.Unmarshal([]byte(data), &bootstrap); err != nil {
		t.Fatal(err)
	}
	return bootstrap["stats_config"].(object)
}

func objectOf(t *testing.T, message proto.Message) object {
	t.Helper()
	value, err := asObject(message)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// Envoy as it is released does not have the filters of Istio's own build.
func isInEnvoy(filter object) bool {
	name, _ := filter["name"].(string)
	return !strings.HasPrefix(name, "istio") && name != "envoy.filters.http.peer_metadata"
}

// translate returns what Istio's control plane sends to a gateway: the listener with its routes and extensions, and the
// clusters with these names.
func translate(t *testing.T, manifests []string, names ...string) (object, []any) {
	t.Helper()
	server := xds.NewFakeDiscoveryServer(t, xds.FakeOptions{ConfigString: strings.Join(append(manifests, orders), "\n---\n")})
	labels := map[string]string{"istio": "ingressgateway"}
	proxy := server.SetupProxy(&model.Proxy{
		Type:            model.Router,
		ConfigNamespace: "istio-ingress",
		Labels:          labels,
		Metadata:        &model.NodeMetadata{Namespace: "istio-ingress", Labels: labels, IstioVersion: "1.30.0"},
		IstioVersion:    model.ParseIstioVersion("1.30.0"),
	})
	var listener object
	// The controller of extensions converts a WasmPlugin soon.
	retry.UntilOrFail(t, func() bool {
		for _, built := range server.Listeners(proxy) {
			listener = objectOf(t, built)
		}
		found, err := manager(listener)
		if err != nil {
			return false
		}
		return strings.Contains(strings.Join(namesOf(found["http_filters"]), " "), "tollbell")
	}, retry.Timeout(10*time.Second))
	manager, err := manager(listener)
	if err != nil {
		t.Fatal(err)
	}
	if name := at(manager, "rds/route_config_name"); name != "http.80" {
		t.Fatalf("the routes are %v", name)
	}
	routes := objectOf(t, server.RoutesFromListeners(proxy, server.Listeners(proxy))[0])
	filters := []any{}
	for _, filter := range manager["http_filters"].([]any) {
		filter := filter.(object)
		if !isInEnvoy(filter) {
			continue
		}
		if name := filter["name"].(string); filter["config_discovery"] != nil {
			sent := server.ConfigGen.BuildExtensionConfiguration(proxy, server.PushContext(), []string{name}, nil)
			if len(sent) != 1 {
				t.Fatalf("%d extensions for %s", len(sent), name)
			}
			filter = objectOf(t, sent[0])
			if source, _ := at(filter, "typed_config/config/vm_config/code/remote/http_uri/uri").(string); source !=
				"oci://registry.example.com/tollbell:0.1.0" {
				t.Fatalf("the module is at %s", source)
			}
			if err := fromFile(filter); err != nil {
				t.Fatal(err)
			}
		}
		filters = append(filters, filter)
	}
	manager["http_filters"] = filters
	delete(manager, "tracing")
	if err := onThisMachine(listener, routes); err != nil {
		t.Fatal(err)
	}
	clusters := []any{}
	for _, name := range names {
		for _, cluster := range server.Clusters(proxy) {
			if cluster.Name == name {
				cluster := objectOf(t, cluster)
				// A filter that only Istio's build of Envoy has.
				delete(cluster, "filters")
				clusters = append(clusters, cluster)
			}
		}
	}
	if len(clusters) != len(names) {
		t.Fatalf("%d clusters of %v", len(clusters), names)
	}
	return listener, clusters
}

func namesOf(filters any) []string {
	names := []string{}
	list, _ := filters.([]any)
	for _, filter := range list {
		name, _ := at(filter, "name").(string)
		names = append(names, name)
	}
	return names
}

const made = `What Istio makes of %s, for a gateway on this machine. ` + "`make test-packaging`" + ` compares this file with the
output of Istio's control plane, and tests run it in Envoy. It lacks tracing, and the filters that only Istio's build of
Envoy has. The module is a local file, and the upstream and the receiver of webhooks are on ports 10001 and 10002.`

func TestWasmPlugin(t *testing.T) {
	manifests := []string{read(t, "envoy/istio/tollbell.yaml"), read(t, "envoy/istio/gateway.yaml")}
	const hooks = "outbound|443||hooks.example.com"
	listener, clusters := translate(t, manifests, "outbound|8080||orders.default.svc.cluster.local", hooks)
	receiver := clusters[1].(object)
	if sni := at(receiver, "transport_socket/typed_config/sni"); sni != "hooks.example.com" {
		t.Fatalf("the receiver is not reached by TLS: %v", receiver)
	}
	reachedAt(clusters[0].(object), 10001)
	reachedAt(receiver, 10002)
	comment := strings.Replace(made, "%s", "tollbell.yaml", 1)
	if err := written(filepath.Join(root, "envoy/istio/envoy.yaml"), comment, listener, clusters, labels(t)); err != nil {
		t.Fatal(err)
	}
}

func TestEnvoyFilter(t *testing.T) {
	manifests := []string{read(t, "envoy/istio/envoyfilter.yaml"), read(t, "envoy/istio/gateway.yaml")}
	listener, clusters := translate(t, manifests, "outbound|8080||orders.default.svc.cluster.local", "tollbell_http",
		"tollbell_https")
	reachedAt(clusters[0].(object), 10001)
	comment := strings.Replace(made, "%s", "envoyfilter.yaml", 1)
	file := filepath.Join(root, "envoy/istio/envoyfilter-envoy.yaml")
	if err := written(file, comment, listener, clusters, labels(t)); err != nil {
		t.Fatal(err)
	}
}

// Istio accepts the manifest of each example, and its plugin gets the same configuration.
func TestExportedExamples(t *testing.T) {
	validator := validator(t)
	examples, err := filepath.Glob(filepath.Join(root, "examples/*/envoy.yaml"))
	if err != nil || len(examples) == 0 {
		t.Fatal("no examples", err)
	}
	for _, example := range examples {
		export := exec.Command(filepath.Join(root, "target/debug/tollbell"), "export", "--for", "istio", "--config", example,
			"--image", "registry.example.com/tollbell:0.1.0")
		manifests, err := export.Output()
		if err != nil {
			t.Fatalf("%s: %v", example, err)
		}
		for _, document := range strings.Split(string(manifests), "---\n") {
			if err := validator.ValidateCustomResourceYAML(document, nil); err != nil {
				t.Errorf("%s: %v\n%s", example, err, document)
			}
		}
		listener, _ := translate(t, []string{string(manifests), read(t, "envoy/istio/gateway.yaml")})
		manager, err := manager(listener)
		if err != nil {
			t.Fatal(err)
		}
		config := at(manager, "http_filters/0/typed_config/config")
		if at(config, "failure_policy") != "FAIL_RELOAD" || at(config, "configuration/value") == nil {
			t.Fatalf("%s: %v", example, config)
		}
	}
}
