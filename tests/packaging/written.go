// Package packaging checks the image and the manifests with the code of Istio and of Envoy Gateway.
package packaging

import (
	"fmt"
	"os"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"sigs.k8s.io/yaml"
)

type object = map[string]any

// asObject converts a message to JSON with the names that Envoy's YAML has.
func asObject(message proto.Message) (object, error) {
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(message)
	if err != nil {
		return nil, err
	}
	value := object{}
	return value, yaml.Unmarshal(text, &value)
}

// at returns a part of an object. The names of its path are divided by "/".
func at(value any, path string) any {
	for _, name := range strings.Split(path, "/") {
		switch parent := value.(type) {
		case object:
			value = parent[name]
		case []any:
			index := 0
			if _, err := fmt.Sscan(name, &index); err != nil || index >= len(parent) {
				return nil
			}
			value = parent[index]
		default:
			return nil
		}
	}
	return value
}

func address(port int) object {
	return object{"socket_address": object{"address": "127.0.0.1", "port_value": port}}
}

// manager returns the HTTP connection manager of a listener. If there are more chains, all have the same filters.
func manager(listener object) (object, error) {
	chain, _ := listener["default_filter_chain"].(object)
	if chain == nil {
		chain, _ = at(listener, "filter_chains/0").(object)
	}
	filters, _ := chain["filters"].([]any)
	for _, filter := range filters {
		config, _ := at(filter, "typed_config").(object)
		if strings.HasSuffix(fmt.Sprint(config["@type"]), ".HttpConnectionManager") {
			return config, nil
		}
	}
	return nil, fmt.Errorf("no HTTP connection manager in %v", listener)
}

// onThisMachine puts a listener on the port of the project's examples, with its routes inside.
func onThisMachine(listener, routes object) error {
	listener["address"] = address(10000)
	manager, err := manager(listener)
	if err != nil {
		return err
	}
	delete(manager, "rds")
	manager["route_config"] = routes
	return nil
}

// reachedAt gives a cluster one endpoint on this machine, instead of those that a control plane would send.
func reachedAt(cluster object, port int) {
	cluster["type"] = "STATIC"
	cluster["load_assignment"] = object{
		"cluster_name": cluster["name"],
		"endpoints":    []any{object{"lb_endpoints": []any{object{"endpoint": object{"address": address(port)}}}}},
	}
	for _, name := range []string{"eds_cluster_config", "transport_socket", "transport_socket_matches", "dns_refresh_rate",
		"dns_jitter", "respect_dns_ttl", "dns_lookup_family", "typed_dns_resolver_config"} {
		delete(cluster, name)
	}
}

// fromFile replaces the source of the module's code, as the agent of a mesh does after it has fetched the module. It
// then also removes the variables for itself.
func fromFile(filter object) error {
	config, _ := at(filter, "typed_config/config/vm_config").(object)
	if config == nil {
		return fmt.Errorf("no plugin in %v", filter)
	}
	delete(config, "environment_variables")
	config["code"] = object{"local": object{"filename": "dist/tollbell.wasm"}}
	return nil
}

// written compares a configuration with its file, or writes the file if UPDATE is set.
func written(file, comment string, listener object, clusters []any, stats object) error {
	text, err := yaml.Marshal(object{
		"admin":            object{"address": address(9901)},
		"stats_config":     stats,
		"static_resources": object{"listeners": []any{listener}, "clusters": clusters},
	})
	if err != nil {
		return err
	}
	wanted := string(text)
	if strings.Contains(wanted, "tollbell_http") {
		// These clusters reach any host: a test cannot put another address into them.
		wanted = strings.ReplaceAll(wanted, "https://hooks.example.com", "http://127.0.0.1:10002")
	}
	comment = "# " + strings.ReplaceAll(strings.TrimSpace(comment), "\n", "\n# ") + "\n"
	wanted = comment + wanted
	if os.Getenv("UPDATE") != "" {
		return os.WriteFile(file, []byte(wanted), 0o644)
	}
	found, err := os.ReadFile(file)
	if err != nil || string(found) != wanted {
		return fmt.Errorf("%s is not current: run `UPDATE=1 make test-packaging`\n%s", file, wanted)
	}
	return nil
}
