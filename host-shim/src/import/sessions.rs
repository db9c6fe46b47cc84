//! Keys, policies and organisations.

use std::collections::{BTreeMap, BTreeSet};

use super::names::Unusable;
use super::rights::{Callables, Kind, LIMITS, Rights, copy, rights, triggers};
use super::source::{At, File};
use super::yaml::{Yaml, map};

/// What of a session a policy says.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Partition {
    #[default]
    All,
    Some,
    PerApi,
    /// No key can have it.
    Mixed,
}

/// What becomes of the keys of a policy.
#[derive(Default)]
struct Told {
    partition: Partition,
    org_id: String,
    /// It says which APIs its keys may call, also if none of them is left.
    grants: bool,
    is_inactive: bool,
    /// What it says is not certain.
    has_error: bool,
}

/// Policies by id.
#[derive(Default)]
pub(super) struct Policies {
    pub(super) kept: BTreeMap<String, Yaml>,
    /// Those of the file, kept or not.
    told: BTreeMap<String, Told>,
    pub(super) orgs: BTreeSet<String>,
}

impl Policies {
    /// `twice`: the ids of several policies.
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
                policies.kept.remove(id);
                let told = policies.told.entry(id.to_owned()).or_default();
                told.has_error = true;
                at.left_out("the policy is left out, and so are its keys: it has an error");
            }
        }
        policies
    }

    fn add(&mut self, id: &str, at: &At<'_>, apis: &Callables) {
        let mut policy = Vec::new();
        copy(at, &[("name", Kind::Text), ("org_id", Kind::Text)], &mut policy);
        copy(at, &LIMITS, &mut policy);
        let more = [("key_expires_in", Kind::Whole), ("is_inactive", Kind::Flag), ("tags", Kind::Texts)];
        copy(at, &more, &mut policy);
        at.get("id").carried();
        at.get("_id").carried();
        at.get("active").missing("nothing to do: is_inactive is what Tyk looks at");
        let mut parts = Vec::new();
        let names = ["quota", "rate_limit", "complexity", "acl", "per_api"].map(|name| (name, Kind::Flag));
        copy(&at.get("partitions"), &names, &mut parts);
        let has = |wanted: &str| parts.iter().any(|(name, _)| *name == wanted);
        let partition = match (has("per_api"), parts.len()) {
            (true, 1) => Partition::PerApi,
            (true, _) => Partition::Mixed,
            (false, 0) => Partition::All,
            (false, _) => Partition::Some,
        };
        let says_rights = partition != Partition::Some || has("acl");
        if !parts.is_empty() {
            policy.push(("partitions", map(parts)));
        }
        copy(at, &[("meta_data", Kind::Any)], &mut policy);
        policy.extend(triggers(at).map(|monitor| ("monitor", monitor)));
        let org_id = at.get("org_id").words().to_owned();
        let rights = rights(at, apis, &org_id);
        let grants = says_rights && (rights.are_lost || !rights.apis.is_empty());
        let is_inactive = at.get("is_inactive").flag();
        let told = Told { partition, org_id: org_id.clone(), grants, is_inactive, has_error: false };
        self.told.insert(id.to_owned(), told);
        let proof = OTHER_PROOF.iter().find(|(setting, _)| at.at(setting).is_set());
        if let Some((setting, what)) = proof.or(narrower(at)) {
            at.left_out(format!("the policy is left out, and so are its keys: {setting}: {what}"));
            return;
        }
        if partition == Partition::Mixed {
            at.left_out("the policy is left out: per_api and another partition cannot be mixed, in Tyk either");
            return;
        }
        if rights.are_lost && grants {
            at.left_out("the policy is left out: none of its APIs is left");
            return;
        }
        if !rights.apis.is_empty() && !says_rights {
            at.get("access_rights")
                .changed("left out: its partitions leave acl out, so Tyk does not look at them either");
        } else if !rights.apis.is_empty() {
            policy.push(("access_rights", Yaml::Map(rights.apis)));
        }
        self.orgs.insert(org_id);
        self.kept.insert(id.to_owned(), map(policy));
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
const OTHER_PROOF: [(&str, &str); 10] = [
    ("basic_auth_data.password", "a password"),
    ("hmac_enabled", "a signature"),
    ("hmac_string", "a signature"),
    ("enable_http_signature_validation", "a signature"),
    ("rsa_certificate_id", "a signature"),
    ("jwt_data.secret", "a JWT"),
    ("oauth_client_id", "an OAuth token"),
    ("oauth_keys", "an OAuth token"),
    ("certificate", "a certificate"),
    ("mtls_static_certificate_bindings", "a certificate"),
];

/// What narrows a key or a policy as a whole, and is not honoured.
const NARROWER: [(&str, &str); 2] = [
    ("max_query_depth", "it limits the depth of GraphQL queries"),
    ("smoothing.enabled", "it lowers the rate for a time"),
];

/// The first setting that narrows, with what it does. Numbers of 0 or less narrow nothing.
fn narrower(at: &At<'_>) -> Option<&'static (&'static str, &'static str)> {
    NARROWER.iter().find(|(setting, _)| {
        at.at(setting).value().is_some_and(|value| value.as_f64().map_or(value == true, |number| number > 0.0))
    })
}

impl Sessions {
    pub(super) fn read(file: &File, unusable: &Unusable, policies: &Policies, apis: &Callables) -> Self {
        let mut sessions = Sessions::default();
        for (name, at) in file.root().get("orgs").entries() {
            let before = file.errors();
            let mut org = Vec::new();
            at.get("org_id").carried();
            copy(&at, &LIMITS, &mut org);
            copy(&at, &[("is_inactive", Kind::Flag)], &mut org);
            org.extend(triggers(&at).map(|monitor| ("monitor", monitor)));
            if file.errors() > before {
                // Its limits are not certain: whoever belongs to it waits until they are.
                at.left_out("the organisation is switched off, and its keys with it: its session has an error");
                org = vec![("is_inactive", true.into())];
            }
            sessions.orgs.insert(name.to_owned(), map(org));
        }
        for (name, at) in file.root().get("keys").entries() {
            let before = file.errors();
            let session = match unusable.reason(name) {
                Some(why) => {
                    at.left_out(format!("the key is left out: {why}"));
                    None
                }
                None => session(&at, policies, apis),
            };
            if file.errors() > before {
                at.left_out("the key is left out: it has an error");
            } else if let Some(session) = session {
                sessions.named.insert(at.get("org_id").words().to_owned());
                sessions.keys.insert(name.to_owned(), session);
            }
        }
        sessions
    }
}

fn session(at: &At<'_>, policies: &Policies, apis: &Callables) -> Option<Yaml> {
    if let Some((setting, what)) = OTHER_PROOF.iter().find(|(setting, _)| at.at(setting).is_set()) {
        at.left_out(format!(
            "the key is left out: its owner proves who they are by {what} ({setting}), without which its name would be a \
             key for anybody: give its owner an API key"
        ));
        return None;
    }
    if at.get("allowed_ips").is_set() {
        at.left_out("the key is left out: only some addresses may use it: add it beside envoy.filters.http.rbac");
        return None;
    }
    if let Some((setting, what)) = narrower(at) {
        at.left_out(format!("the key is left out: {setting}: {what}, which tollbell does not do"));
        return None;
    }
    if at.at("meta_data.rate_limit_pattern").is_set() {
        at.left_out(
            "the key is left out: Tyk counts it together with a group of keys, and tollbell counts it by itself",
        );
        return None;
    }
    if at.at("meta_data.policies").value().is_some_and(serde_json::Value::is_array) {
        at.left_out("the key is left out: Tyk takes the policies in its metadata: put them into the policies file");
        return None;
    }
    let mut session = Vec::new();
    copy(at, &[("org_id", Kind::Text), ("alias", Kind::Text)], &mut session);
    copy(at, &LIMITS, &mut session);
    copy(at, &[("expires", Kind::Whole), ("is_inactive", Kind::Flag), ("tags", Kind::Texts)], &mut session);
    let applied = policies_of(at, policies)?;
    let rights = rights_of(at, &applied, apis)?;
    if !applied.ids.is_empty() {
        session.push(("apply_policies", applied.ids.into()));
    }
    copy(at, &[("meta_data", Kind::Any)], &mut session);
    session.extend(triggers(at).map(|monitor| ("monitor", monitor)));
    if !rights.is_empty() {
        session.push(("access_rights", Yaml::Map(rights)));
    }
    Some(map(session))
}

/// The rights of a session's own; none are every right, unless its policies grant some. `None`: it is left out.
fn rights_of(at: &At<'_>, applied: &Applied<'_>, apis: &Callables) -> Option<Vec<(String, Yaml)>> {
    let org = applied.org;
    let Rights { apis: own, are_lost } = rights(at, apis, org);
    if applied.grant || !own.is_empty() {
        return Some(own);
    }
    if are_lost {
        at.left_out("the key is left out: none of the rights that it had is left, and no right would be every right");
        return None;
    }
    if !applied.ids.is_empty() {
        at.left_out(
            "the key is left out: neither it nor its policies name an API, which some releases of Tyk refuse and which \
             would be the right to every API here: give it access_rights",
        );
        return None;
    }
    if !apis.values().any(|api| api.is_foreign_to(org)) {
        return Some(own);
    }
    let near = apis.iter().filter(|(_, api)| !api.is_foreign_to(org));
    let near: Vec<(String, Yaml)> = near.map(|(id, _)| (id.clone(), map([]))).collect();
    if near.is_empty() {
        at.left_out("the key is left out: no API of its organisation is left, and Tyk finds it nowhere else");
        return None;
    }
    at.get("org_id").changed("it has the rights to all APIs of its organisation, since Tyk finds it nowhere else");
    Some(near)
}

/// The policies of a session.
struct Applied<'p> {
    ids: Vec<Yaml>,
    /// They say which APIs it may call.
    grant: bool,
    /// Whose they are.
    org: &'p str,
}

/// The policies of a session; `None` if it is refused without them.
fn policies_of<'p>(at: &At<'_>, policies: &'p Policies) -> Option<Applied<'p>> {
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
    let told: Vec<(&str, &Told)> = wanted.iter().filter_map(|id| Some((*id, policies.told.get(*id)?))).collect();
    let (kept, gone): (Vec<&str>, Vec<&str>) = wanted.iter().partition(|id| policies.kept.contains_key(**id));
    let orgs = told.iter().map(|(_, told)| told.org_id.as_str()).chain([at.get("org_id").words()]);
    let orgs: BTreeSet<&str> = orgs.filter(|org| !org.is_empty()).collect();
    let some = |partition: Partition| told.iter().any(|(_, told)| told.partition == partition);
    let grant = |(id, told): &(&str, &Told)| told.grants.then_some(policies.kept.contains_key(*id));
    let grants: Vec<bool> = told.iter().filter_map(grant).collect();
    let is_switched_off = |(id, told): &(&str, &Told)| told.is_inactive && !policies.kept.contains_key(*id);
    let problem = if wanted.is_empty() {
        None
    } else if told.is_empty() {
        Some("none of its policies is in the policies file, and Tyk refuses such a key, too")
    } else if told.iter().any(|(_, told)| told.has_error) {
        Some("a policy of it is left out for an error, and nobody knows what it would limit")
    } else if orgs.len() > 1 {
        Some("not all its policies are of its organisation, and Tyk refuses such a key, too")
    } else if some(Partition::Mixed) {
        Some("one of its policies has per_api and another partition, and Tyk refuses such a key, too")
    } else if some(Partition::PerApi) && some(Partition::Some) {
        Some("per_api and partitioned policies cannot be mixed, in Tyk either")
    } else if !grants.is_empty() && !grants.contains(&true) {
        Some("none of the APIs of its policies is left")
    } else if told.iter().any(is_switched_off) {
        Some("a policy that is left out switches it off")
    } else {
        None
    };
    if let Some(problem) = problem {
        at.left_out(format!("the key is left out: {problem}"));
        return None;
    }
    if !gone.is_empty() {
        let gone = gone.join(", ");
        list.changed(format!("without {gone}, which the policies file does not have, or of whose APIs none is left"));
    }
    let org = told.iter().map(|(_, told)| told.org_id.as_str()).find(|org| !org.is_empty()).unwrap_or_default();
    Some(Applied { ids: kept.into_iter().map(Yaml::from).collect(), grant: !grants.is_empty(), org })
}
