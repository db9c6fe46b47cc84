//! The version of an API that a request is for.

use crate::access::{Access, Api, ApiIndex, Pass, Request, RequestOutcome, Versioned, Versioning, is_preflight};
use crate::base::UnixMillis;

/// The version, if the API has versions.
pub(super) fn of_request<'c>(
    access: &'c Access,
    (index, api): (ApiIndex, &'c Api),
    request: &Request<'_>,
    earlier: Option<&Pass>,
    now: UnixMillis,
) -> Result<Option<Versioned<'c>>, RequestOutcome> {
    let Some(versioning) = &api.versioning else { return Ok(None) };
    choose(access, (index, api, versioning), request, earlier, now).map(Some)
}

/// The API of a version that is an API of its own.
pub(super) fn api<'c>(
    access: &'c Access,
    version: &Result<Option<Versioned<'c>>, RequestOutcome>,
) -> Option<(ApiIndex, &'c Api)> {
    let Ok(Some(Versioned { chosen, .. })) = version else { return None };
    let index = chosen.version.api?;
    Some((index, access.routes.get(index)?))
}

#[cold]
#[inline(never)]
fn choose<'c>(
    access: &'c Access,
    (parent, api, versioning): (ApiIndex, &'c Api, &'c Versioning),
    request: &Request<'_>,
    earlier: Option<&Pass>,
    now: UnixMillis,
) -> Result<Versioned<'c>, RequestOutcome> {
    let before = earlier.and_then(|pass| pass.version_of(parent));
    let chosen = match versioning.choose_after(request, before, now) {
        // A browser cannot add its own header to a preflight.
        Err(RequestOutcome::VersionMissing) if is_preflight(request) => {
            let answers = |api: &Api| api.allow_preflight && api.key_location.find(request).is_none();
            let of = |place: Option<ApiIndex>| place.and_then(|place| access.routes.get(place)).unwrap_or(api);
            versioning.first(now, |version| answers(of(version.api))).ok_or(RequestOutcome::VersionMissing)?
        }
        chosen => chosen?,
    };
    Ok(Versioned { parent, versioning, chosen })
}
