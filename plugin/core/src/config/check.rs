//! From the raw structs to checked types: the checks that a schema cannot express.

use super::error::Errors;
use super::{Config, apis, calls, lints, notifications, raw, sessions};
use crate::notify::Notifications;

/// Checks the whole configuration. The result is valid only if no error was added.
pub fn check(mut raw: raw::Config, errors: &mut Errors) -> (Config, Errors) {
    let mut warnings = Errors::of_warnings();
    lints::check(&raw, errors, &mut warnings);
    // The policies are removed from the raw configuration next.
    apis::warn_of_rights(&raw, &mut warnings);
    let (session_maker, mut directory, default_session) = sessions::check(&mut raw, errors, &mut warnings);
    calls::check_clusters(&raw.callouts.clusters, errors);
    let notified = notifications::check(&raw, errors, &mut warnings);
    let sessions = (&mut directory, default_session);
    let (access, observation) = apis::check(&raw, notified.api_handlers, sessions, errors, &mut warnings);
    let keys_from = sessions::keys_from::check(&raw, errors, &mut warnings);
    if keys_from.is_some() {
        directory.await_fetched();
    }
    let targets = notified.handlers.iter().filter_map(|handler| Some(&handler.action.channel()?.target));
    let targets = targets.chain(notified.named.values());
    let clusters = calls::clusters::needed(&raw, targets, keys_from.as_ref().map(|from| &from.target));
    let origin_headers = raw.origin_header.iter();
    let origin_headers = origin_headers.filter_map(|name| calls::header_name("origin_header", name, errors)).collect();
    let fleet = calls::store::check(&raw.store, errors, &mut warnings);
    let usage = apis::usage::check(&raw, &access, notified.gateway.clone(), errors, &mut warnings);
    let config = Config {
        access,
        directory,
        observation,
        admin: apis::admin::check(&raw, notified.gateway, errors, &mut warnings),
        usage,
        notifications: Notifications {
            placement: Default::default(),
            handlers: notified.handlers,
            org_handlers: notified.org_handlers,
            templates: notified.templates,
            receivers: notified.receivers,
            mail: notified.mail,
            delivery: notifications::delivery::check(&raw.delivery, errors),
            clusters,
            is_in_fleet: fleet.is_some(),
            hash_keys: raw.hash_keys,
            origin_headers,
        },
        keys_from,
        session_maker,
        named: notified.named,
        fleet,
        http_cluster: raw.callouts.http_cluster.clone(),
    };
    (config, warnings)
}
