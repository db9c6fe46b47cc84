//! Events and the variables that templates can show.

mod kind;

pub use kind::{EventKind, Family, ManagementAction};

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::base::{Mailbox, UnixMillis, fingerprint, json};

#[derive(Clone, Debug)]
pub struct Event {
    pub kind: EventKind,
    /// Unique for each event: lower-case hex without a dot.
    pub id: String,
    pub at: UnixMillis,
    /// The values that templates can show.
    pub meta: Meta,
    /// The key's fingerprint for log lines, even if `meta.key` shows the raw key.
    pub fingerprint: String,
    /// The payload of a management event; `None` for other events.
    pub management: Option<Box<Management>>,
    /// The details of a crossed threshold; `None` for other events.
    pub crossed: Option<Box<Crossed>>,
}

/// A quota's crossing of a threshold: an entry of `Meta.Crossings`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crossed {
    /// The owner of the quota.
    pub subject: Subject,
    /// The key as events show it, or its fingerprint in an email. Empty for an organisation.
    pub key: String,
    pub alias: String,
    pub org_id: String,
    /// The API of the request that crossed the threshold.
    pub api_id: String,
    /// The threshold in percent, such as `80`.
    pub trigger_limit: String,
    /// The count when the threshold was crossed.
    pub used: u64,
    /// The quota's limit.
    pub max: u64,
}

/// The owner of a quota.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Subject {
    /// A session: a key, or an identity that has its own session.
    #[default]
    Key,
    /// An organisation.
    Organisation,
    /// An identity without a session: clients can choose any number of these.
    Identity,
}

impl Subject {
    /// Its name in events.
    pub fn name(self) -> &'static str {
        match self {
            Subject::Key => "key",
            Subject::Organisation => "organisation",
            Subject::Identity => "identity",
        }
    }
}

impl Crossed {
    fn view(&self) -> Value {
        json::object(&mut [
            ("Subject", self.subject.name().into()),
            ("Key", self.key.as_str().into()),
            ("Alias", self.alias.as_str().into()),
            ("OrgID", self.org_id.as_str().into()),
            ("APIID", self.api_id.as_str().into()),
            ("TriggerLimit", self.trigger_limit.as_str().into()),
            ("Used", self.used.into()),
            ("Max", self.max.into()),
        ])
    }
}

impl fmt::Display for Crossed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Crossed { key, alias, org_id, trigger_limit, used, max, .. } = self;
        match (self.subject, alias.is_empty(), org_id.is_empty()) {
            (Subject::Organisation, ..) => write!(f, "organisation {org_id}")?,
            (_, true, true) => write!(f, "{key}")?,
            (_, true, false) => write!(f, "{key} of {org_id}")?,
            (_, false, true) => write!(f, "{key} ({alias})")?,
            (_, false, false) => write!(f, "{key} ({alias}) of {org_id}")?,
        }
        write!(f, " {trigger_limit} % ({used} of {max})")
    }
}

impl Event {
    /// The group that shares a cap and digests. Events of different types are in different groups. Events that happen
    /// only once are also grouped by upstream or action. Crossings of identities, which clients can choose, are in a
    /// different group from those of keys and organisations.
    pub fn group(&self) -> u64 {
        let name = self.kind.name();
        match self.kind.family() {
            Family::Threshold => {
                let subject = self.crossed.as_ref().map(|crossed| crossed.subject).unwrap_or_default();
                fingerprint(&[name, &format!("{subject:?}")])
            }
            Family::Dashboard | Family::Portal => fingerprint(&[name, &self.meta.message]),
            Family::Upstream => fingerprint(&[name, &self.meta.api_id]),
            Family::Request => fingerprint(&[name]),
        }
    }
}

/// The data of a management event.
#[derive(Clone, Debug, PartialEq)]
pub struct Management {
    /// The name with its action, such as `key_event.add`.
    pub name: String,
    /// The action, such as `add`; empty if the event's name includes it.
    pub action: &'static str,
    /// The payload as in Tyk's documentation.
    pub body: String,
    /// A text that is the same for two events of one cause.
    pub stable: String,
    /// `data` of a dashboard event, `Message` of a portal event.
    pub payload: Value,
    /// The developer concerned.
    pub concerned: Option<Mailbox>,
}

/// Tyk's event metadata: `{{Meta.Message}}` and the other variables of a template.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// Tyk's text for this type of event.
    pub message: String,
    /// The request's path without the query.
    pub path: String,
    /// The client's address, without a port.
    pub origin: String,
    /// The key as the client sent it, or its fingerprint with `hash_keys`; empty for an organisation's threshold.
    pub key: String,
    /// The organisation's id.
    pub org_id: String,
    /// The API's id.
    pub api_id: String,
    /// Why another filter or the upstream refused the request, from the proxy's response code details, such as
    /// `Jwt_is_expired`.
    pub reason: String,
    /// The organisation's id again, under Tyk's older name.
    pub org: String,
    /// The proxy's findings about a host, for `HostDown` and `HostUp`.
    pub host_info: HostInfo,
    /// The state of a circuit breaker: `0` tripped, `1` reset, as in Tyk.
    pub circuit_event: String,
    /// The cluster of the upstream.
    pub cluster: String,
    /// The session's alias.
    pub alias: String,
    /// The session's tags.
    pub tags: Vec<String>,
    /// The session's metadata.
    pub meta_data: BTreeMap<String, String>,
    /// The crossed threshold in percent, such as `80`.
    pub trigger_limit: String,
    /// The use of the quota at the crossing, in whole percent, such as `80`.
    pub usage_percentage: String,
    /// For `QuotaForecast`, when the quota will be used up, as RFC 3339.
    #[serde(default)]
    pub expected_at: String,
    /// In a digest, the number of events that it stands for; 0 in an event that is not a digest.
    pub suppressed: u64,
    /// In a digest, the time of its first event as RFC 3339.
    pub first_seen: String,
    /// In a digest, the time of its last event as RFC 3339.
    pub last_seen: String,
    /// In a digest of crossed thresholds, the crossings; at most 1,000.
    pub crossings: Vec<Crossed>,
    /// In such a digest, the number of crossings that are not listed.
    pub unnamed: u64,
    /// True if the request was admitted although it would have been refused.
    #[serde(default)]
    pub would_refuse: bool,
}

/// The proxy's findings about a host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostInfo {
    /// The path of the request.
    pub check_url: String,
    /// The status that the client received.
    pub response_code: u16,
    /// True if the connection failed, false if the host answered with a failure.
    pub is_tcp_error: bool,
    /// The host's cluster and API.
    pub meta_data: HostPlace,
}

impl HostInfo {
    fn view(&self) -> Value {
        let place = json::object(&mut [
            ("host_name", self.meta_data.host_name.as_str().into()),
            ("api_id", self.meta_data.api_id.as_str().into()),
        ]);
        json::object(&mut [
            ("CheckURL", self.check_url.as_str().into()),
            ("ResponseCode", self.response_code.into()),
            ("IsTCPError", self.is_tcp_error.into()),
            ("MetaData", place),
        ])
    }
}

/// The cluster and the API of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostPlace {
    pub host_name: String,
    pub api_id: String,
}

impl Meta {
    /// All variables of a template.
    pub fn view(&self) -> Value {
        let text = |text: &String| Value::from(text.as_str());
        json::object(&mut [
            ("Message", text(&self.message)),
            ("Path", text(&self.path)),
            ("Origin", text(&self.origin)),
            ("Key", text(&self.key)),
            ("OrgID", text(&self.org_id)),
            ("APIID", text(&self.api_id)),
            ("Reason", text(&self.reason)),
            ("Org", text(&self.org)),
            ("HostInfo", self.host_info.view()),
            ("CircuitEvent", text(&self.circuit_event)),
            ("Cluster", text(&self.cluster)),
            ("Alias", text(&self.alias)),
            ("Tags", self.tags.iter().map(text).collect()),
            (
                "MetaData",
                Value::Object(self.meta_data.iter().map(|(name, value)| (name.clone(), text(value))).collect()),
            ),
            ("TriggerLimit", text(&self.trigger_limit)),
            ("UsagePercentage", text(&self.usage_percentage)),
            ("ExpectedAt", text(&self.expected_at)),
            ("Suppressed", self.suppressed.into()),
            ("FirstSeen", text(&self.first_seen)),
            ("LastSeen", text(&self.last_seen)),
            ("Crossings", self.crossings.iter().map(Crossed::view).collect()),
            ("Unnamed", self.unnamed.into()),
            ("WouldRefuse", self.would_refuse.into()),
        ])
    }

    /// The non-empty variables that the built-in templates show.
    fn brief_view(&self, kind: EventKind) -> Value {
        let mut brief = Map::new();
        for (name, text) in [
            ("Path", &self.path),
            ("Origin", &self.origin),
            ("Key", &self.key),
            ("OrgID", &self.org_id),
            ("APIID", &self.api_id),
            ("CircuitEvent", &self.circuit_event),
            ("TriggerLimit", &self.trigger_limit),
            ("ExpectedAt", &self.expected_at),
            ("FirstSeen", &self.first_seen),
            ("LastSeen", &self.last_seen),
        ] {
            if !text.is_empty() {
                brief.insert(name.to_owned(), text.as_str().into());
            }
        }
        if matches!(kind, EventKind::HostDown | EventKind::HostUp) {
            brief.insert("HostInfo".to_owned(), self.host_info.view());
        }
        if matches!(kind, EventKind::QuotaRenewed | EventKind::QuotaForecast) {
            brief.insert("UsagePercentage".to_owned(), self.usage_percentage.as_str().into());
        }
        if !self.crossings.is_empty() {
            brief.insert("Crossings".to_owned(), self.crossings.iter().map(Crossed::view).collect());
        }
        if self.would_refuse {
            brief.insert("WouldRefuse".to_owned(), true.into());
        }
        brief.insert("Message".to_owned(), self.message.as_str().into());
        brief.insert("Suppressed".to_owned(), self.suppressed.into());
        brief.insert("Unnamed".to_owned(), self.unnamed.into());
        Value::Object(brief)
    }

    /// The metadata of an event about a quota. The threshold is in percent, or empty if there is none.
    pub fn of_quota(org_id: &str, key: &str, trigger_limit: String, count: u64, max: u64) -> Self {
        let usage = u128::from(count).saturating_mul(100).checked_div(u128::from(max)).unwrap_or_default();
        Meta {
            key: key.into(),
            org_id: org_id.into(),
            org: org_id.into(),
            trigger_limit,
            usage_percentage: usage.to_string(),
            ..Meta::default()
        }
    }
}

impl Event {
    /// A sample event to test a template with.
    pub fn sample(kind: EventKind) -> Self {
        let text = "sample".to_owned();
        let meta = Meta {
            message: text.clone(),
            path: text.clone(),
            origin: text.clone(),
            key: text.clone(),
            org_id: text.clone(),
            api_id: text.clone(),
            reason: text.clone(),
            circuit_event: "0".to_owned(),
            cluster: text.clone(),
            alias: text.clone(),
            trigger_limit: "80".to_owned(),
            usage_percentage: "80".to_owned(),
            expected_at: "1970-01-01T00:00:00.000Z".to_owned(),
            ..Meta::default()
        };
        Event { kind, id: text.clone(), at: UnixMillis(0), meta, fingerprint: text, management: None, crossed: None }
    }

    /// All variables of a template.
    pub fn view(&self) -> Value {
        self.shown(self.at.to_rfc3339(), &self.id, self.meta.view())
    }

    /// The variables that the built-in templates show. Serializing the others would cost as much as the message itself.
    pub fn brief_view(&self) -> Value {
        json::object(&mut [("Type", self.kind.name().into()), ("Meta", self.meta.brief_view(self.kind))])
    }

    /// All variables of a management event. With `stable`, the values are blank that differ between two events of one
    /// cause.
    pub fn management_view(&self, management: &Management, stable: bool) -> Value {
        json::object(&mut [
            ("Type", self.kind.name().into()),
            ("Event", management.name.as_str().into()),
            ("action", management.action.into()),
            ("TimeStamp", if stable { String::new() } else { self.at.to_rfc3339() }.into()),
            ("ID", if stable { "" } else { &self.id }.into()),
            ("OrgID", self.meta.org_id.as_str().into()),
            ("data", management.payload.clone()),
            ("Message", management.payload.clone()),
            ("Meta", management.payload.clone()),
        ])
    }

    /// The variables with those values blank that differ between two events of one cause (see [`VOLATILE`]).
    pub fn stable_view(&self) -> Value {
        let mut meta = self.meta.view();
        for name in ["UsagePercentage", "ExpectedAt"] {
            if let Some(value) = meta.get_mut(name) {
                *value = "".into();
            }
        }
        self.shown(String::new(), "", meta)
    }

    fn shown(&self, time_stamp: String, id: &str, mut meta: Value) -> Value {
        if let Value::Object(members) = &mut meta {
            members.insert("Fingerprint".to_owned(), self.fingerprint.as_str().into());
        }
        json::object(&mut [
            ("Type", self.kind.name().into()),
            ("TimeStamp", time_stamp.into()),
            ("ID", id.into()),
            ("Meta", meta),
        ])
    }
}

/// The variables that [`Event::stable_view`] blanks.
pub const VOLATILE: [&str; 4] = ["TimeStamp", "ID", "UsagePercentage", "ExpectedAt"];

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn usage_is_whole_percent() {
        let meta = Meta::of_quota("acme", "", "50".to_owned(), 2, 3);
        assert_eq!((meta.trigger_limit.as_str(), meta.usage_percentage.as_str()), ("50", "66"));
    }
}
