//! Checks the admin endpoints.

use crate::access::{Api, Prefix};
use crate::admin::Admin;
use crate::base::{item, member};
use crate::config::error::Errors;
use crate::config::notifications::handlers::ByEvent;
use crate::config::raw;

/// Checks the admin endpoints. The API stands for them in the AuthFailure of a wrong token.
pub fn check(raw: &raw::Config, gateway: ByEvent, errors: &mut Errors, warnings: &mut Errors) -> Option<(Admin, Api)> {
    let raw::Admin { path_prefix, token_sha256, page } = &raw.admin;
    if token_sha256.is_empty() {
        if *path_prefix != raw::Admin::default().path_prefix {
            warnings.add("admin.path_prefix", "has no effect: without token_sha256 there are no endpoints");
        }
        if !page {
            warnings.add("admin.page", "has no effect: without token_sha256 there is no page");
        }
        return None;
    }
    let prefix = match Prefix::parse(path_prefix.trim_end_matches('/')) {
        Ok(prefix) => Some(prefix),
        Err(message) => {
            errors.add("admin.path_prefix", format!("is not a path prefix such as /.tollbell: {message}"));
            None
        }
    };
    for (index, api) in (0_usize..).zip(&raw.apis) {
        let (Some(prefix), Ok(path)) = (&prefix, Prefix::parse(&api.listen_path)) else { continue };
        match prefix.rest(&String::from_utf8_lossy(path.respelled())) {
            Some("/") => {
                errors.add("admin.path_prefix", format!("{path_prefix:?} is also the listen_path of apis[{index}]"))
            }
            Some(_) => {
                let message =
                    format!("receives no requests: the admin endpoints answer everything below {path_prefix}");
                warnings.add(member(&item("apis", index), "listen_path"), message);
            }
            None => {}
        }
    }
    let digits = token_sha256.strip_prefix("sha256:").unwrap_or(token_sha256);
    let token: Option<[u8; 32]> = hex::decode(digits).ok().and_then(|bytes| bytes.try_into().ok());
    let Some(token) = token else {
        errors.add("admin.token_sha256", "not 64 hex digits: printf %s \"$token\" | sha256sum");
        return None;
    };
    let api = Api { id: "admin".to_owned(), use_keyless: true, handlers: gateway.into_lists(), ..Api::default() };
    Some((Admin::new(prefix?, token, *page), api))
}
