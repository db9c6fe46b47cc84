//! Keys, policies and organisations.

use std::collections::{BTreeMap, BTreeSet};

use tollbell_core::config::raw::{AccessRight, Limit, Org, Partitions, Policy, Session};

use super::fields;
use super::names::Unusable;
use super::rights::{Callables, Rights, limited_apis, limits, rights, triggers, wrong_number};
use super::source::{At, File, says_something};

/// The parts of a session that a policy sets.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Partition {
    #[default]
    All,
    Some,
    PerApi,
    /// No key can have such a policy.
    Mixed,
}

/// The content of a policy, also if it is left out.
#[derive(Default)]
struct Told {
    partition: Partition,
    org_id: String,
    /// True if it names the APIs that its keys may call.
    grants: bool,
    /// True if it sets their quota, and their rate.
    quota: bool,
    rate: bool,
    /// The APIs that it names and that are carried over.
    apis: BTreeSet<String>,
    /// The APIs with a right that is left out because of a restriction.
    restricted: BTreeSet<String>,
    /// Why it is left out. Without it, the restrictions of its keys are unknown.
    left_out: Option<&'static str>,
}

/// Policies by id.
#[derive(Default)]
pub(super) struct Policies {
    pub(super) kept: BTreeMap<String, Policy>,
    /// All policies of the file, kept or not.
    told: BTreeMap<String, Told>,
    pub(super) orgs: BTreeSet<String>,
}

impl Policies {
    /// `twice` are the ids of several policies.
    pub(super) fn read(file: &File, twice: &BTreeSet<String>, apis: &Callables) -> Self {
        let mut policies = Policies::default();
        for (id, at) in file.root().entries() {
            let before = file.errors();
            if at.value().is_some_and(serde_json::Value::is_object) {
                policies.add(id, &at, apis);
            } else {
                at.error("must be a policy, an object");
            }
            if file.errors() > before || twice.contains(id) {
                policies.leave_out(id, &at, "it has an error", None);
            }
        }
        policies
    }

    fn leave_out(&mut self, id: &str, at: &At<'_>, why: &'static str, details: Option<String>) {
        self.kept.remove(id);
        self.told.entry(id.to_owned()).or_default().left_out = Some(why);
        let details = details.map_or_else(|| format!("{why}."), |details| format!("{why}: {details}"));
        at.left_out(format!("The policy is left out, and so are its keys: {details}"));
    }

    fn add(&mut self, id: &str, at: &At<'_>, apis: &Callables) {
        let Limit { quota_max, quota_renewal_rate, rate, per } = limits(at);
        let mut policy = Policy {
            name: at.carry_text("name"),
            org_id: at.carry_text("org_id"),
            quota_max,
            quota_renewal_rate,
            rate,
            per,
            is_inactive: at.carry_flag("is_inactive"),
            key_expires_in: at.carry_whole("key_expires_in"),
            monitor: triggers(at),
            tags: at.carry_texts("tags"),
            meta_data: at.carry_members("meta_data"),
            partitions: partitions(&at.get("partitions")),
            ..Policy::default()
        };
        at.get("id").carried();
        at.get("_id").carried();
        at.get("active").missing("nothing to do: Tyk uses is_inactive");
        let Partitions { quota: has_quota, rate_limit: has_rate, acl, complexity, per_api } = policy.partitions;
        let has_others = has_quota || has_rate || acl || complexity;
        let partition = match (per_api, has_others) {
            (true, false) => Partition::PerApi,
            (true, true) => Partition::Mixed,
            (false, false) => Partition::All,
            (false, true) => Partition::Some,
        };
        let says_rights = partition != Partition::Some || acl;
        let org_id = policy.org_id.clone();
        let rights = if says_rights { rights(at, apis, &org_id) } else { limited_apis(at, apis, &org_id) };
        let told = Told {
            partition,
            org_id: org_id.clone(),
            grants: says_rights && (rights.are_lost || !rights.apis.is_empty()),
            quota: partition != Partition::Some || has_quota,
            rate: partition != Partition::Some || has_rate,
            apis: rights.apis.iter().map(|(api, _)| api.clone()).collect(),
            restricted: rights.restricted,
            left_out: None,
        };
        self.told.insert(id.to_owned(), told);
        let restriction = fields::restriction(fields::POLICY, at, &PROOFS);
        let restriction = restriction.or_else(|| fields::restriction(fields::PARTITIONS, &at.get("partitions"), &[]));
        let is_set = |(field, _): &&(&str, &str)| at.get(field).value().is_some_and(says_something);
        if let Some((setting, what)) = PROOFS.iter().find(is_set) {
            let details = format!("their owners would authenticate with {what} ({setting}).");
            self.leave_out(id, at, "tollbell checks only API keys", Some(details));
        } else if let Some((setting, what)) = restriction {
            self.leave_out(id, at, "tollbell cannot enforce what restricts them", Some(format!("{setting} ({what}).")));
        } else if let Some(wrong) = wrong_number(at) {
            self.leave_out(id, at, "it has a number that tollbell refuses", Some(format!("{wrong}.")));
        } else if partition == Partition::Mixed {
            self.leave_out(id, at, "it has per_api and another partition, and Tyk refuses its keys, too", None);
        } else if rights.are_lost {
            self.leave_out(id, at, "none of its APIs is left", None);
        } else {
            policy.access_rights = rights.apis.into_iter().collect();
            self.orgs.insert(org_id);
            self.kept.insert(id.to_owned(), policy);
        }
    }
}

fn partitions(at: &At<'_>) -> Partitions {
    Partitions {
        quota: at.carry_flag("quota"),
        rate_limit: at.carry_flag("rate_limit"),
        acl: at.carry_flag("acl"),
        complexity: at.carry_flag("complexity"),
        per_api: at.carry_flag("per_api"),
    }
}

/// Keys by `sha256:…`, organisations by id.
#[derive(Default)]
pub(super) struct Sessions {
    pub(super) keys: BTreeMap<String, Session>,
    pub(super) orgs: BTreeMap<String, Org>,
    /// The organisations of the keys.
    pub(super) named: BTreeSet<String>,
}

/// The fields that mean that owners of keys authenticate in another way, with the name of that way.
const PROOFS: [(&str, &str); 10] = [
    ("basic_auth_data", "a password"),
    ("hmac_enabled", "a signature"),
    ("hmac_string", "a signature"),
    ("enable_http_signature_validation", "a signature"),
    ("rsa_certificate_id", "a signature"),
    ("jwt_data", "a JWT"),
    ("oauth_client_id", "an OAuth token"),
    ("oauth_keys", "an OAuth token"),
    ("certificate", "a certificate"),
    ("mtls_static_certificate_bindings", "a certificate"),
];

impl Sessions {
    pub(super) fn read(file: &File, unusable: &Unusable, policies: &Policies, apis: &Callables) -> Self {
        let mut sessions = Sessions::default();
        for (name, at) in file.root().get("orgs").entries() {
            let before = file.errors();
            at.get("org_id").carried();
            let Limit { quota_max, quota_renewal_rate, rate, per } = limits(&at);
            let is_inactive = at.carry_flag("is_inactive");
            let monitor = triggers(&at);
            let mut org = Org { quota_max, quota_renewal_rate, rate, per, is_inactive, monitor, ..Org::default() };
            let wrong = wrong_number(&at).map(|wrong| format!("{wrong}."));
            let wrong = wrong.or_else(|| (file.errors() > before).then(|| "Its session has an error.".to_owned()));
            if let Some(wrong) = wrong {
                // Its limits are unknown, so its keys wait until they are known.
                at.left_out(format!("The organisation is inactive, and so are its keys. {wrong}"));
                org = Org { is_inactive: true, ..Org::default() };
            }
            sessions.orgs.insert(name.to_owned(), org);
        }
        for (name, at) in file.root().get("keys").entries() {
            let before = file.errors();
            let session = match unusable.reason(name) {
                Some(why) => {
                    leave_out(&at, why);
                    None
                }
                None => session(&at, policies, apis),
            };
            if file.errors() > before {
                leave_out(&at, "It has an error.");
            } else if let Some(session) = session {
                sessions.named.insert(at.get("org_id").words().to_owned());
                sessions.keys.insert(name.to_owned(), session);
            }
        }
        sessions
    }
}

/// The result for the settings of a session that its policies replace.
const REPLACED: &str = "left out: its policies set this instead, as in Tyk";

fn leave_out(at: &At<'_>, why: &str) {
    at.left_out(format!("The key is left out. {why}"));
}

/// Why a key cannot be imported, whatever its policies and rights are.
fn problem(at: &At<'_>) -> Option<String> {
    let says = |(field, _): &&(&str, &str)| at.get(field).value().is_some_and(says_something);
    if let Some((setting, what)) = PROOFS.iter().find(says) {
        return Some(format!(
            "Its owner authenticates with {what} ({setting}), which tollbell does not check. Give the owner an API key."
        ));
    }
    if at.get("allowed_ips").is_set() {
        return Some("Only some addresses may use it. Add it beside envoy.filters.http.rbac.".to_owned());
    }
    if let Some((setting, what)) = fields::restriction(fields::SESSION, at, &PROOFS) {
        return Some(format!("{setting} restricts it, and tollbell cannot enforce {setting} ({what})."));
    }
    if at.at("meta_data.rate_limit_pattern").is_set() {
        return Some("Tyk counts it together with a group of keys, and tollbell counts it by itself.".to_owned());
    }
    if at.at("meta_data.policies").value().is_some_and(serde_json::Value::is_array) {
        return Some("Tyk takes the policies in its metadata. Put them into the policies file.".to_owned());
    }
    wrong_number(at).map(|wrong| format!("{wrong}."))
}

fn session(at: &At<'_>, policies: &Policies, apis: &Callables) -> Option<Session> {
    if let Some(problem) = problem(at) {
        leave_out(at, &problem);
        return None;
    }
    let (org_id, alias) = (at.carry_text("org_id"), at.carry_text("alias"));
    let applied = policies_of(at, policies)?;
    let Limit { mut quota_max, quota_renewal_rate, mut rate, mut per } = limits(at);
    let replaced = |name: &str| {
        if at.get(name).is_set() {
            at.get(name).changed(REPLACED);
        }
    };
    if applied.quota {
        replaced("quota_max");
        quota_max = 0;
    }
    if applied.rate {
        replaced("rate");
        replaced("per");
        (rate, per) = (0.0, 0.0);
    }
    let mut rights = rights_of(at, &applied, apis)?;
    if applied.grant && !rights.is_empty() {
        rights.clear();
        at.get("access_rights").replaced(REPLACED);
    }
    Some(Session {
        org_id,
        alias,
        quota_max,
        quota_renewal_rate,
        rate,
        per,
        expires: at.carry_whole("expires"),
        is_inactive: at.carry_flag("is_inactive"),
        monitor: triggers(at),
        access_rights: rights.into_iter().collect(),
        apply_policies: applied.ids,
        meta_data: at.carry_members("meta_data"),
        tags: at.carry_texts("tags"),
        ..Session::default()
    })
}

/// The session's own rights. Without any it has all rights, unless its policies grant some. `None` means that it is
/// left out.
fn rights_of(at: &At<'_>, applied: &Applied<'_>, apis: &Callables) -> Option<Vec<(String, AccessRight)>> {
    let org = applied.org;
    let Rights { apis: own, are_lost, .. } = rights(at, apis, org);
    if applied.grant || !own.is_empty() {
        return Some(own);
    }
    if are_lost {
        leave_out(at, "None of its rights could be imported. Without rights, it could call every API.");
        return None;
    }
    if !applied.ids.is_empty() {
        leave_out(
            at,
            "Neither it nor its policies name an API. Tyk refuses such a key; in tollbell it could call every API. Give it \
             access_rights.",
        );
        return None;
    }
    if !apis.values().any(|api| api.is_foreign_to(org)) {
        return Some(own);
    }
    let near = apis.iter().filter(|(_, api)| !api.is_foreign_to(org));
    let near: Vec<(String, AccessRight)> = near.map(|(id, _)| (id.clone(), AccessRight::default())).collect();
    if near.is_empty() {
        leave_out(at, "No API of its organisation is left, and Tyk finds it nowhere else.");
        return None;
    }
    at.get("org_id").changed("it has the rights to all APIs of its organisation, because Tyk finds it nowhere else");
    Some(near)
}

/// The policies of a session, combined.
struct Applied<'p> {
    ids: Vec<String>,
    /// Whether they name the APIs that it may call, its quota, and its rate.
    grant: bool,
    quota: bool,
    rate: bool,
    /// Their organisation.
    org: &'p str,
}

/// The policies of a session; `None` if it is refused because of them.
fn policies_of<'p>(at: &At<'_>, policies: &'p Policies) -> Option<Applied<'p>> {
    let (list, old) = (at.get("apply_policies"), at.get("apply_policy_id"));
    let wanted: Vec<&str> = match list.is_set() {
        true => list.items().iter().filter_map(At::text).collect(),
        false => old.text().filter(|id| !id.is_empty()).into_iter().collect(),
    };
    if list.is_set() {
        list.carried();
        old.missing("nothing to do: apply_policies wins, as in Tyk");
    } else if old.is_set() {
        old.changed("apply_policies, with this one policy");
    }
    let told: Vec<(&str, &Told)> = wanted.iter().filter_map(|id| Some((*id, policies.told.get(*id)?))).collect();
    if let Some(problem) = problem_of_policies(at, &wanted, &told) {
        leave_out(at, &problem);
        return None;
    }
    // Tyk skips missing policies if there are several.
    let gone: Vec<&str> = wanted.iter().copied().filter(|id| !policies.told.contains_key(*id)).collect();
    if !gone.is_empty() {
        list.changed(format!("{} removed: not in the policies file", gone.join(", ")));
    }
    let org = told.iter().map(|(_, told)| told.org_id.as_str()).find(|org| !org.is_empty()).unwrap_or_default();
    Some(Applied {
        ids: told.iter().map(|(id, _)| (*id).to_owned()).collect(),
        grant: told.iter().any(|(_, told)| told.grants),
        quota: told.iter().any(|(_, told)| told.quota),
        rate: told.iter().any(|(_, told)| told.rate),
        org,
    })
}

/// Why a session with these policies is left out.
fn problem_of_policies(at: &At<'_>, wanted: &[&str], told: &[(&str, &Told)]) -> Option<String> {
    if wanted.is_empty() {
        return None;
    }
    if told.is_empty() {
        return Some("None of its policies is in the policies file. Tyk refuses such a key, too.".to_owned());
    }
    // Without this policy, the key would lose its restriction.
    if let Some((id, why)) = told.iter().find_map(|(id, told)| Some((*id, told.left_out?))) {
        return Some(format!("Its policy {id:?} is left out: {why}."));
    }
    let orgs = told.iter().map(|(_, told)| told.org_id.as_str()).chain([at.get("org_id").words()]);
    let orgs: BTreeSet<&str> = orgs.filter(|org| !org.is_empty()).collect();
    if orgs.len() > 1 {
        return Some("Not all its policies are of its organisation. Tyk refuses such a key, too.".to_owned());
    }
    let some = |partition: Partition| told.iter().any(|(_, told)| told.partition == partition);
    if some(Partition::PerApi) && some(Partition::Some) {
        return Some(
            "Some of its policies have per_api, some are partitioned. Tyk refuses such a key, too.".to_owned(),
        );
    }
    // In Tyk, the restriction of one policy also applies if another policy gives the same right without it.
    for (id, restricted) in told.iter().flat_map(|(id, told)| told.restricted.iter().map(move |api| (id, api))) {
        if let Some((other, _)) = told.iter().find(|(_, told)| told.grants && told.apis.contains(restricted)) {
            return Some(format!(
                "Its policy {id:?} restricts its right to {restricted:?}, which tollbell cannot enforce, and its policy \
                 {other:?} gives that right, too."
            ));
        }
    }
    None
}
