//! What keys and policies have in common: access rights, limits, triggers.

use std::collections::BTreeMap;

use super::classic::whole;
use super::source::At;
use super::yaml::{Yaml, map};

/// What a setting must be.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Text,
    Flag,
    Whole,
    /// A number; a negative one is no limit, and wins where policies are merged.
    Number,
    Texts,
    Any,
}

/// Copies settings whose names and meaning are the same; what is empty says nothing and is left out.
pub(super) fn copy(at: &At<'_>, settings: &[(&'static str, Kind)], to: &mut Vec<(&'static str, Yaml)>) {
    for (name, kind) in settings {
        let setting = at.get(name);
        let value = match kind {
            Kind::Text => setting.text().map(Yaml::from),
            Kind::Flag => Some(setting.flag().into()),
            Kind::Whole => setting.whole().map(Yaml::from),
            Kind::Number => setting.number().and(setting.value()).map(whole),
            Kind::Texts => {
                let texts = setting.items().iter().filter_map(|item| item.text().map(Yaml::from)).collect::<Vec<_>>();
                Some(texts.into())
            }
            Kind::Any => setting.value().map(Yaml::from),
        };
        setting.carried();
        if let Some(value) = value.filter(|_| setting.is_set()) {
            to.push((*name, value));
        }
    }
}

/// Limits of a session, a policy, an organisation or one API.
pub(super) const LIMITS: [(&str, Kind); 4] =
    [("quota_max", Kind::Whole), ("quota_renewal_rate", Kind::Whole), ("rate", Kind::Number), ("per", Kind::Number)];

/// `monitor`, with the thresholds that can be crossed.
pub(super) fn triggers(at: &At<'_>) -> Option<Yaml> {
    let limits = at.at("monitor.trigger_limits");
    let numbers: Vec<f64> = limits.items().iter().filter_map(At::number).collect();
    let kept: Vec<Yaml> = numbers.iter().filter(|limit| **limit > 0.0 && **limit <= 100.0).map(percent).collect();
    if kept.len() == numbers.len() {
        limits.carried();
    } else {
        limits.changed("those over 0 and up to 100: the others are never crossed");
    }
    (!kept.is_empty()).then(|| map([("trigger_limits", kept.into())]))
}

pub(super) fn percent(limit: &f64) -> Yaml {
    Yaml::Number(*limit)
}

/// The APIs that rights can be given to, by id.
pub(super) type Callables = BTreeMap<String, Callable>;

/// What a right to an API must fit.
pub(super) struct Callable {
    pub(super) org_id: String,
    /// The versions that are served, where rights name versions.
    pub(super) versions: Vec<String>,
}

impl Callable {
    /// Whether it belongs to another organisation; an empty one is anybody's.
    pub(super) fn is_foreign_to(&self, org: &str) -> bool {
        !org.is_empty() && !self.org_id.is_empty() && self.org_id != org
    }
}

/// The APIs that a key or a policy may call.
pub(super) struct Rights {
    pub(super) apis: Vec<(String, Yaml)>,
    /// There were some, and none could be carried over: this is no longer the right to call every API.
    pub(super) are_lost: bool,
}

/// What narrows a right, and tollbell does not look at.
const NARROWER: [&str; 10] = [
    "allowed_urls",
    "restricted_types",
    "allowed_types",
    "field_access_rights",
    "disable_introspection",
    "endpoints",
    "json_rpc_methods",
    "json_rpc_methods_access_rights",
    "mcp_primitives",
    "mcp_access_rights",
];

/// `org`: whose APIs it can be about; empty for anybody's.
pub(super) fn rights(at: &At<'_>, known: &Callables, org: &str) -> Rights {
    let given = at.get("access_rights").entries();
    let apis = given.iter().filter_map(|(id, right)| Some(((*id).to_owned(), self::right(id, right, known, org)?)));
    let apis: Vec<_> = apis.collect();
    Rights { are_lost: apis.is_empty() && !given.is_empty(), apis }
}

fn right(id: &str, at: &At<'_>, known: &Callables, org: &str) -> Option<Yaml> {
    let Some(api) = known.get(id) else {
        at.missing(format!("the right is left out: there is no API {id:?} any more, or none was given"));
        return None;
    };
    if api.is_foreign_to(org) {
        at.missing(
            "the right is left out: the API belongs to another organisation, and Tyk refuses such a key there, too",
        );
        return None;
    }
    let versions = at.get("versions").items();
    let is_named = |served: &String| versions.iter().any(|at| at.words() == *served);
    if !api.versions.is_empty() && !api.versions.iter().any(is_named) {
        at.missing(format!(
            "the right is left out: it is not one to version {}, which {} served",
            api.versions.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", "),
            if api.versions.len() == 1 { "is the one that is" } else { "are those that are" }
        ));
        return None;
    }
    if let Some(narrower) = NARROWER.iter().find(|name| at.get(name).is_set()) {
        at.missing(format!(
            "the right is left out, since it would be wider without its {narrower}: put envoy.filters.http.rbac before \
             tollbell, and add it by hand"
        ));
        return None;
    }
    let mut right = Vec::new();
    for (name, old_name, to) in [("api_id", "apiid", "api_id"), ("api_name", "apiname", "api_name")] {
        let given = if at.get(name).is_set() { at.get(name) } else { at.get(old_name) };
        if name == "api_id" && given.words() != id && given.is_set() {
            given.changed(format!("{id}, the name under which it stands, as in Tyk"));
            continue;
        }
        given.carried();
        if given.is_set() {
            right.push((to, given.words().into()));
        }
    }
    copy(at, &[("versions", Kind::Texts), ("allowance_scope", Kind::Text)], &mut right);
    let limit = at.get("limit");
    if LIMITS.iter().any(|(name, _)| limit.get(name).is_set()) {
        let mut limits = Vec::new();
        copy(&limit, &LIMITS, &mut limits);
        right.push(("limit", map(limits)));
    }
    Some(map(right))
}
