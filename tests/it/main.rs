//! tollbell in a real Envoy and in the shim.

/// Places of keys, answers of refusals, preflights, internal redirects.
mod access;
/// The status page and the report of a rehearsal, in Chromium.
mod browser;
/// The effects of arbitrary client bytes.
mod bytes;
/// The shim and Envoy with guests of other SDKs.
mod compare;
/// Configurations that Envoy refuses, and live updates.
mod configuration;
/// Scripts of hostcalls, compared with the recorded behaviour.
mod conformance;
/// Webhooks: one per period, to receivers that are slow or down.
mod delivery;
/// The pages of `docs`: snippets, links, statistics, log lines.
mod documents;
/// Examples as manifests of a mesh.
mod export;
/// The project's own files: YAML, README, schema, named paths.
mod files;
/// Several Envoys that count as one, in a real Redis.
mod fleet;
/// What once crashed a fuzz target.
mod fuzz;
/// Identities, rates, observed responses, fetched keys.
mod gateway;
/// Refused requests with everything that follows their headers.
mod holding;
/// Hosts that differ from Envoy.
mod hosts;
/// Configurations that are imported from Tyk's files.
mod import;
/// Management events, e-mail, the admin endpoints.
mod manage;
/// The manifests for Istio, Envoy Gateway and Kubernetes.
mod manifests;
/// The module's imports and exports.
mod module;
/// Numbers that can only be mistakes.
mod numbers;
/// The board and the alert rules, on a real Prometheus.
mod observability;
/// Refusals that are only observed, and Envoy's access log.
mod observing;
/// The OCI image of the module.
mod packaging;
/// Quotas: answers, thresholds, exactness under concurrency.
mod quota;
/// Built-in messages for receivers, and the receivers' own packages.
mod receivers;
/// Webhooks under outages, dead VMs, updates and floods.
mod reliability;
/// The rights of fetched sessions.
mod rights;
/// The imports between crates and between modules.
mod rooms;
/// The API of a request: spellings of paths, hosts.
mod routing;
/// Delivery under random schedules of faults.
mod schedules;
/// The JSON Schemas that editors apply.
mod schema;
/// The shim with guests that misbehave and threads that race.
mod shim;
/// Signatures of webhooks.
mod signatures;
/// The module's size.
mod size;
/// Stories as data, on the core, in the shim, in Envoy.
mod stories;
/// The common parts of the tests.
mod support;
/// Held messages when the configuration changes.
mod updates;
/// Versions of an API, with an upstream for each.
mod versions;
/// Requests that wait for their counters.
mod waiting;
