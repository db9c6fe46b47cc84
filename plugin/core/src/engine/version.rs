//! Which version of an API a request is for.

use crate::answer::Outcome;
use crate::config::Config;
use crate::pass::Pass;
use crate::preflight::is_preflight;
use crate::request::Request;
use crate::route::{Api, ApiIndex, Versioned};
use crate::units::UnixMillis;
use crate::versioning::Versioning;

/// The version, where the API has some.
pub(super) fn of_request<'c>(
    config: &'c Config,
    (index, api): (ApiIndex, &'c Api),
    request: &Request<'_>,
    earlier: Option<&Pass>,
    now: UnixMillis,
) -> Result<Option<Versioned<'c>>, Outcome> {
    let Some(versioning) = &api.versioning else { return Ok(None) };
    choose(config, (index, api, versioning), request, earlier, now).map(Some)
}

/// The API of a version that is one of its own.
pub(super) fn api<'c>(
    config: &'c Config,
    version: &Result<Option<Versioned<'c>>, Outcome>,
) -> Option<(ApiIndex, &'c Api)> {
    let Ok(Some(Versioned { chosen, .. })) = version else { return None };
    let index = chosen.version.api?;
    Some((index, config.routes.get(index)?))
}

#[cold]
#[inline(never)]
fn choose<'c>(
    config: &'c Config,
    (parent, api, versioning): (ApiIndex, &'c Api, &'c Versioning),
    request: &Request<'_>,
    earlier: Option<&Pass>,
    now: UnixMillis,
) -> Result<Versioned<'c>, Outcome> {
    let before = earlier.and_then(|pass| pass.version_of(parent));
    let chosen = match versioning.choose_after(request, before, now) {
        // A browser cannot put a header of its own into a preflight.
        Err(Outcome::VersionMissing) if is_preflight(request) => {
            let answers = |api: &Api| api.allow_preflight && api.key_location.find(request).is_none();
            let of = |place: Option<ApiIndex>| place.and_then(|place| config.routes.get(place)).unwrap_or(api);
            versioning.first(now, |version| answers(of(version.api))).ok_or(Outcome::VersionMissing)?
        }
        chosen => chosen?,
    };
    Ok(Versioned { parent, versioning, chosen })
}
