//! tollbell in a real Envoy and in the shim.

/// Where keys stand, what a refusal says, preflights, internal redirects.
mod access;
/// What client bytes of any kind do.
mod bytes;
/// Configurations that Envoy refuses, and live updates.
mod configuration;
/// What scripts of hostcalls do, against what was recorded.
mod conformance;
/// Webhooks: one a period, to receivers that are slow or down.
mod delivery;
/// The pages of `docs`: snippets, links, statistics, log lines.
mod documents;
/// The project's own files: YAML, README, schema, named paths.
mod files;
/// What once crashed a fuzz target.
mod fuzz;
/// Identities, rates, observed responses, fetched keys.
mod gateway;
/// Refused requests, with all that comes behind their headers.
mod holding;
/// Hosts that differ from Envoy.
mod hosts;
/// What is made of files of Tyk.
mod import;
/// Management events, e-mail, the admin endpoints.
mod manage;
/// The module's imports and exports.
mod module;
/// Numbers that can only be mistakes.
mod numbers;
/// Quotas: answers, thresholds, exactness under concurrency.
mod quota;
/// What webhooks must survive: outages, dead VMs, updates, floods.
mod reliability;
/// What fetched sessions may do.
mod rights;
/// Which API a request belongs to: spellings of paths, hosts.
mod rooms;

mod routing;
/// Delivery under random schedules of faults.
mod schedules;
/// The JSON Schemas that editors apply.
mod schema;
/// The shim under guests that misbehave and threads that race.
mod shim;
/// Signatures of webhooks.
mod signatures;
/// The module's size.
mod size;
/// Stories as data, on the core, in the shim, in Envoy.
mod stories;
/// What the tests share.
mod support;
/// What becomes of held messages when the configuration changes.
mod updates;
/// Versions of an API, with an upstream for each.
mod versions;

mod waiting;
