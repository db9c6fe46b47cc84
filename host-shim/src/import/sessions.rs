//! Keys, policies and organisations.

use std::collections::{BTreeMap, BTreeSet};

use super::names::{Known, Owner};
use super::rights::{Kind, LIMITS, copy, rights, triggers};
use super::source::{At, File};
use super::yaml::{Yaml, map};

/// What of a session a policy says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Partition {
    All,
    Some,
    PerApi,
}

/// Policies by id.
#[derive(Default)]
pub(super) struct Policies {
    pub(super) kept: BTreeMap<String, Yaml>,
    /// There is one of that id, and no API that it grants is left.
    lost: BTreeSet<String>,
    /// What they say, and whose they are.
    kinds: BTreeMap<String, (Partition, String)>,
    pub(super) orgs: BTreeSet<String>,
}

impl Policies {
    pub(super) fn read(file: &File, apis: &BTreeSet<String>) -> Self {
        let mut policies = Policies::default();
        for (id, at) in file.root().entries() {
            if !at.value().is_some_and(serde_json::Value::is_object) {
                at.error("must be a policy, an object");
                continue;
            }
            let mut policy = Vec::new();
            copy(&at, &[("name", Kind::Text), ("org_id", Kind::Text)], &mut policy);
            copy(&at, &LIMITS, &mut policy);
            let more = [("key_expires_in", Kind::Whole), ("is_inactive", Kind::Flag), ("tags", Kind::Texts)];
            copy(&at, &more, &mut policy);
            at.get("id").carried();
            at.get("_id").carried();
            at.get("active").missing("nothing to do: is_inactive is what Tyk looks at");
            let mut parts = Vec::new();
            let names = ["quota", "rate_limit", "complexity", "acl", "per_api"].map(|name| (name, Kind::Flag));
            copy(&at.get("partitions"), &names, &mut parts);
            let has = |wanted: &str| parts.iter().any(|(name, _)| *name == wanted);
            let is_mixed = has("per_api") && parts.len() > 1;
            let grants = parts.is_empty() || parts.iter().any(|(name, _)| matches!(*name, "acl" | "per_api"));
            let (is_per_api, is_partitioned) = (has("per_api"), !parts.is_empty());
            if !parts.is_empty() {
                policy.push(("partitions", map(parts)));
            }
            copy(&at, &[("meta_data", Kind::Any)], &mut policy);
            if let Some(monitor) = triggers(&at) {
                policy.push(("monitor", monitor));
            }
            let rights = rights(&at, apis);
            if is_mixed {
                at.missing("the policy is left out: per_api and another partition cannot be mixed, in Tyk either");
                policies.lost.insert(id.to_owned());
                continue;
            }
            if rights.are_lost && grants {
                at.missing("the policy is left out: none of its APIs is left");
                policies.lost.insert(id.to_owned());
                continue;
            }
            if !rights.apis.is_empty() {
                policy.push(("access_rights", Yaml::Map(rights.apis)));
            }
            let kind = if is_per_api {
                Partition::PerApi
            } else if is_partitioned {
                Partition::Some
            } else {
                Partition::All
            };
            policies.kinds.insert(id.to_owned(), (kind, at.get("org_id").words().to_owned()));
            policies.orgs.insert(at.get("org_id").words().to_owned());
            policies.kept.insert(id.to_owned(), map(policy));
        }
        policies
    }
}

/// Keys by `sha256:…`, organisations by id.
#[derive(Default)]
pub(super) struct Sessions {
    pub(super) keys: BTreeMap<String, Yaml>,
    pub(super) orgs: BTreeMap<String, Yaml>,
    /// Organisations that keys belong to.
    pub(super) named: BTreeSet<String>,
}

/// Sessions that prove who they are by something else than a key.
const OTHER_PROOF: [(&str, &str); 7] = [
    ("basic_auth_data.password", "a password"),
    ("hmac_enabled", "a signature"),
    ("rsa_certificate_id", "a signature"),
    ("jwt_data.secret", "a JWT"),
    ("oauth_client_id", "an OAuth token"),
    ("certificate", "a certificate"),
    ("mtls_static_certificate_bindings", "a certificate"),
];

impl Sessions {
    pub(super) fn read(file: &File, known: &Known, policies: &Policies, apis: &BTreeSet<String>) -> Self {
        let mut sessions = Sessions::default();
        for (name, at) in file.root().get("orgs").entries() {
            let mut org = Vec::new();
            at.get("org_id").carried();
            copy(&at, &LIMITS, &mut org);
            copy(&at, &[("is_inactive", Kind::Flag)], &mut org);
            org.extend(triggers(&at).map(|monitor| ("monitor", monitor)));
            sessions.orgs.insert(name.to_owned(), map(org));
        }
        for (name, at) in file.root().get("keys").entries() {
            match known.owner(name) {
                Some(Owner::Unusable(why)) => at.missing(format!("the key is left out: {why}")),
                _ => {
                    if let Some(session) = session(&at, policies, apis) {
                        sessions.named.insert(at.get("org_id").words().to_owned());
                        sessions.keys.insert(name.to_owned(), session);
                    }
                }
            }
        }
        sessions
    }
}

fn session(at: &At<'_>, policies: &Policies, apis: &BTreeSet<String>) -> Option<Yaml> {
    if let Some((setting, what)) = OTHER_PROOF.iter().find(|(setting, _)| at.at(setting).is_set()) {
        at.missing(format!(
            "the key is left out: its owner proves who they are by {what} ({setting}), without which its name would be a \
             key for anybody: give its owner an API key"
        ));
        return None;
    }
    if at.get("allowed_ips").is_set() {
        at.missing("the key is left out: only some addresses may use it: add it beside envoy.filters.http.rbac");
        return None;
    }
    let mut session = Vec::new();
    copy(at, &[("org_id", Kind::Text), ("alias", Kind::Text)], &mut session);
    copy(at, &LIMITS, &mut session);
    copy(at, &[("expires", Kind::Whole), ("is_inactive", Kind::Flag), ("tags", Kind::Texts)], &mut session);
    let ids = policies_of(at, policies)?;
    let rights = rights(at, apis);
    if rights.are_lost && ids.is_empty() {
        at.missing("the key is left out: none of the rights that it had is left, and no right would be every right");
        return None;
    }
    if !ids.is_empty() {
        session.push(("apply_policies", ids.into()));
    }
    copy(at, &[("meta_data", Kind::Any)], &mut session);
    let pattern = at.at("meta_data.rate_limit_pattern");
    pattern.missing("the key is counted by itself: tollbell makes no groups of keys");
    session.extend(triggers(at).map(|monitor| ("monitor", monitor)));
    if !rights.apis.is_empty() {
        session.push(("access_rights", Yaml::Map(rights.apis)));
    }
    Some(map(session))
}

/// The policies of a session; `None` if it is refused without them.
fn policies_of(at: &At<'_>, policies: &Policies) -> Option<Vec<Yaml>> {
    let (list, old) = (at.get("apply_policies"), at.get("apply_policy_id"));
    let wanted: Vec<&str> = match list.is_set() {
        true => list.items().iter().filter_map(At::text).collect(),
        false => old.text().filter(|id| !id.is_empty()).into_iter().collect(),
    };
    if list.is_set() {
        list.carried();
        old.missing("nothing to do: apply_policies wins, in Tyk too");
    } else if old.is_set() {
        old.changed("apply_policies, with this one policy");
    }
    let org = at.get("org_id").words();
    let fits = |id: &str| {
        let owner = policies.kinds.get(id).map_or("", |(_, owner)| owner);
        policies.kept.contains_key(id) && (org.is_empty() || owner.is_empty() || org == owner)
    };
    let (kept, gone): (Vec<&str>, Vec<&str>) = wanted.iter().partition(|id| fits(id));
    let some = |kind: Partition| kept.iter().any(|id| policies.kinds.get(*id).is_some_and(|(other, _)| *other == kind));
    if some(Partition::PerApi) && some(Partition::Some) {
        at.missing("the key is left out: per_api and partitioned policies cannot be mixed, in Tyk either");
        return None;
    }
    if kept.is_empty() && !gone.is_empty() {
        let why = if gone.iter().any(|id| policies.lost.contains(*id)) {
            "none of the APIs of its policies is left"
        } else {
            "none of its policies is in the policies file for its organisation, and Tyk refuses such a key, too"
        };
        at.missing(format!("the key is left out: {why}"));
        return None;
    }
    if !gone.is_empty() {
        list.changed(format!(
            "without {}, which the policies file does not have for its organisation, or which grants nothing",
            gone.join(", ")
        ));
    }
    Some(kept.into_iter().map(Yaml::from).collect())
}
