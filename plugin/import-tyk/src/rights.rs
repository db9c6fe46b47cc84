//! The common parts of keys and policies: access rights, limits, triggers.

use std::collections::{BTreeMap, BTreeSet};

use tollbell_core::config::raw::{AccessRight, AllowedUrl, Limit, TriggerLimit, Triggers};

use super::source::At;
use super::{allowed_urls, fields};

/// The limits of a session, a policy, an organisation or one API.
pub(super) const LIMITS: [&str; 4] = ["quota_max", "quota_renewal_rate", "rate", "per"];

/// The limits that are set.
pub(super) fn limits(at: &At<'_>) -> Limit {
    Limit {
        quota_max: at.carry_whole("quota_max"),
        quota_renewal_rate: at.carry_whole("quota_renewal_rate"),
        rate: at.carry_number("rate"),
        per: at.carry_number("per"),
    }
}

/// `monitor`, with the thresholds that can be crossed.
pub(super) fn triggers(at: &At<'_>) -> Triggers {
    let limits = at.at("monitor.trigger_limits");
    let numbers: Vec<f64> = limits.items().iter().filter_map(At::number).collect();
    let can_be_crossed = |limit: &&f64| **limit > 0.0 && **limit <= 100.0;
    let kept: Vec<TriggerLimit> = numbers.iter().filter(can_be_crossed).copied().map(TriggerLimit).collect();
    if kept.len() == numbers.len() {
        limits.carried();
    } else {
        limits.changed("those over 0 and up to 100: the others are never crossed");
    }
    Triggers { trigger_limits: kept }
}

/// The APIs that rights can name, by id.
pub(super) type Callables = BTreeMap<String, Callable>;

/// The properties of an API that a right must fit.
pub(super) struct Callable {
    pub(super) org_id: String,
    /// True if rules of `allowed_urls` match anywhere in a path.
    pub(super) matches_anywhere: bool,
    /// The served versions, if rights name versions.
    pub(super) versions: Vec<String>,
}

impl Callable {
    /// True if it belongs to another organisation. An empty one fits any.
    pub(super) fn is_foreign_to(&self, org: &str) -> bool {
        !org.is_empty() && !self.org_id.is_empty() && self.org_id != org
    }
}

/// The APIs that a key or a policy may call.
#[derive(Default)]
pub(super) struct Rights {
    pub(super) apis: Vec<(String, AccessRight)>,
    /// APIs with a right that is left out because of a restriction.
    pub(super) restricted: BTreeSet<String>,
    /// True if there were rights and none could be carried over. Then it is not the right to call every API.
    pub(super) are_lost: bool,
}

/// `org` is the organisation of the APIs; empty for any.
pub(super) fn rights(at: &At<'_>, known: &Callables, org: &str) -> Rights {
    let given = at.get("access_rights").entries();
    let mut rights = Rights::default();
    for (id, right) in &given {
        let Some(api) = callable(id, right, known, org) else { continue };
        match restriction(right, api) {
            Some(why) => {
                right.missing(format!("The right is left out: {why}"));
                rights.restricted.insert((*id).to_owned());
            }
            None => rights.apis.push(((*id).to_owned(), self::right(id, right))),
        }
    }
    rights.are_lost = rights.apis.is_empty() && !given.is_empty();
    rights
}

/// The rights of a policy that grants none. They only name the APIs of its limits.
pub(super) fn limited_apis(at: &At<'_>, known: &Callables, org: &str) -> Rights {
    let given = at.get("access_rights").entries();
    let mut rights = Rights::default();
    for (id, right) in &given {
        if known.get(*id).is_some_and(|api| !api.is_foreign_to(org)) {
            right.changed("{}, because the policy sets a limit for this API and gives no access to it, as in Tyk");
            rights.apis.push(((*id).to_owned(), AccessRight::default()));
        } else {
            right.missing(format!("The limit for {id:?} is left out: there is no such API for these keys"));
        }
    }
    rights.are_lost = rights.apis.is_empty() && !given.is_empty();
    rights
}

/// The API of a right, if the right can be used for it.
fn callable<'k>(id: &str, at: &At<'_>, known: &'k Callables, org: &str) -> Option<&'k Callable> {
    let Some(api) = known.get(id) else {
        at.missing(format!("The right is left out: the API {id:?} does not exist or was left out."));
        return None;
    };
    if api.is_foreign_to(org) {
        at.missing(
            "The right is left out: the API belongs to another organisation, and Tyk refuses such a key there, too.",
        );
        return None;
    }
    let versions = at.get("versions").items();
    let is_named = |served: &String| versions.iter().any(|at| at.words() == *served);
    if !api.versions.is_empty() && !api.versions.iter().any(is_named) {
        let names = api.versions.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
        at.missing(match api.versions.len() {
            1 => {
                format!("The right is left out: it does not include version {names}, the only version that is served.")
            }
            _ => format!("The right is left out: it includes none of the versions that are served: {names}."),
        });
        return None;
    }
    Some(api)
}

/// Why a right cannot be carried over: without its restriction it would be wider.
fn restriction(at: &At<'_>, api: &Callable) -> Option<String> {
    let limit = at.get("limit");
    let inner = || fields::restriction(fields::LIMIT, &limit, &[]).map(|(name, why)| (format!("limit.{name}"), why));
    let found = fields::restriction(fields::RIGHT, at, &[]).map(|(name, why)| (name.to_owned(), why)).or_else(inner);
    if let Some((name, why)) = found {
        return Some(format!("{name} restricts it, and tollbell cannot enforce {name} ({why})."));
    }
    if let Some(wrong) = wrong_number(&limit) {
        return Some(format!("limit.{wrong}."));
    }
    let rules = at.get("allowed_urls").items();
    if !rules.is_empty() && !api.matches_anywhere {
        return Some(
            "with enable_path_prefix_matching or enable_path_suffix_matching, Tyk reads its allowed_urls in another way \
             than tollbell. Write them as expressions with ^ and $, and add the right by hand."
                .to_owned(),
        );
    }
    let odd = rules.iter().find(|rule| {
        !allowed_urls::is_usable(rule.get("url").words()) || fields::restriction(fields::RULE, rule, &[]).is_some()
    })?;
    let url = odd.get("url").words();
    Some(format!(
        "tollbell may read the rule {url:?} of its allowed_urls in another way than Tyk. Write it more simply."
    ))
}

fn right(id: &str, at: &At<'_>) -> AccessRight {
    let named = |name: &str, old_name: &str| if at.get(name).is_set() { at.get(name) } else { at.get(old_name) };
    let (api_id, api_name) = (named("api_id", "apiid"), named("api_name", "apiname"));
    let mut right = AccessRight::default();
    if api_id.is_set() && api_id.words() != id {
        api_id.changed(format!("{id}, the name of its entry, as in Tyk"));
    } else {
        api_id.carried();
        api_id.words().clone_into(&mut right.api_id);
    }
    api_name.carried();
    api_name.words().clone_into(&mut right.api_name);
    right.versions = at.carry_texts("versions");
    right.allowance_scope = at.carry_text("allowance_scope");
    right.allowed_urls = at.get("allowed_urls").items().iter().map(rule).collect();
    let limit = at.get("limit");
    if LIMITS.iter().any(|name| limit.get(name).is_set()) {
        right.limit = limits(&limit);
    }
    right
}

/// An entry of `allowed_urls`. Without methods it allows none, as in Tyk.
fn rule(at: &At<'_>) -> AllowedUrl {
    let (url, methods) = (at.get("url"), at.get("methods"));
    let texts = methods.items().iter().filter_map(At::text).map(str::to_owned).collect();
    url.carried();
    methods.carried();
    AllowedUrl { url: url.words().to_owned(), methods: texts }
}

/// The first number that tollbell refuses, and the reason.
pub(super) fn wrong_number(at: &At<'_>) -> Option<String> {
    const CENTURY_S: f64 = 3_153_600_000.0;
    const LAST_UNIX_SECOND: f64 = 253_402_300_799.0;
    let numbers = [
        ("quota_max", f64::MAX),
        ("quota_renewal_rate", CENTURY_S),
        ("rate", f64::MAX),
        ("per", CENTURY_S),
        ("expires", LAST_UNIX_SECOND),
        ("key_expires_in", CENTURY_S),
    ];
    numbers.into_iter().find_map(|(name, most)| {
        // A value of another type is an error where it is read.
        let number = at.get(name).value()?.as_f64()?;
        let why = if number > most {
            "is too large: it is a number of seconds"
        } else if number < 0.0 && number != -1.0 {
            "is negative, and only -1 means unlimited or never"
        } else {
            return None;
        };
        Some(format!("{name}: {number} {why}"))
    })
}
