//! Checks the endpoint at which the holder of a key sees its limits.

use crate::access::{Access, Api, IdentitySource, Prefix, Quota};
use crate::admin::OwnUsage;
use crate::base::item;
use crate::config::error::Errors;
use crate::config::notifications::handlers::ByEvent;
use crate::config::raw;

/// Checks the endpoint. The API stands for it in events of wrong keys.
pub fn check(
    raw: &raw::Config,
    access: &Access,
    gateway: ByEvent,
    errors: &mut Errors,
    warnings: &mut Errors,
) -> Option<(OwnUsage, Api)> {
    let raw::Usage { path, rate, per } = &raw.usage;
    if path.is_empty() {
        let default = raw::Usage::default();
        if (*rate, *per) != (default.rate, default.per) {
            warnings.add("usage", "has no effect: without a path there is no endpoint");
        }
        return None;
    }
    let parsed = match Prefix::parse(path) {
        Ok(parsed) => parsed,
        Err(message) => {
            errors.add("usage.path", format!("is not a path such as /.tollbell/usage: {message}"));
            return None;
        }
    };
    for (index, api) in (0_usize..).zip(&raw.apis) {
        if Prefix::parse(&api.listen_path).is_ok_and(|other| other.decoded() == parsed.decoded()) {
            errors.add("usage.path", format!("{path:?} is also the listen_path of {}", item("apis", index)));
        }
    }
    // Two APIs with the same places find the same key.
    let mut places: Vec<(_, &Api)> = Vec::new();
    for (index, api) in access.routes.iter() {
        let asks = !api.use_keyless && api.identity.contains(&IdentitySource::Key);
        let is_same = |(_, other): &(_, &Api)| other.key_location == api.key_location && other.org == api.org;
        if asks && !places.iter().any(is_same) {
            places.push((index, api));
        }
    }
    if places.is_empty() {
        warnings.add("usage.path", "has no effect: no API asks for a key");
    }
    let places = places.into_iter().map(|(index, _)| index).collect();
    let api = Api { id: "usage".to_owned(), handlers: gateway.into_lists(), ..Api::default() };
    Some((OwnUsage::new(parsed, places, Quota::of_rate(*rate, *per)), api))
}
