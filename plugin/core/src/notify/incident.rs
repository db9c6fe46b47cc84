//! Incidents of requests that cause events, and the metadata of these events.

use crate::access::{
    AUTH_FAILURE, Api, Caller, LimitScope, Owner, QuotaChange, QuotaNews, RATE_LIMITED, Request, RequestOutcome,
};
use crate::base::client_text;
use crate::event::{Crossed, EventKind, HostInfo, HostPlace, Meta, Subject};

/// The message of TriggerExceeded.
const CROSSED: &str = "Quota trigger reached";

/// The message of QuotaRenewed.
const RENEWED: &str = "Quota renewed";

/// The message of QuotaForecast.
const FORETOLD: &str = "Quota will be used up";

/// An incident that may cause an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incident {
    /// A request was refused.
    Refusal {
        /// The event's type.
        kind: EventKind,
        /// The event's message.
        message: &'static str,
        /// The reason.
        outcome: RequestOutcome,
    },
    /// Another filter or the upstream refused a request.
    Observed {
        /// The event's type.
        kind: EventKind,
        /// The event's message.
        message: &'static str,
        /// The reason in the proxy's response code details.
        reason: String,
    },
    /// The proxy's verdict on the upstream changed.
    Verdict {
        /// The event's type.
        kind: EventKind,
        /// The status of the response that showed it.
        status: u16,
    },
    /// Something happened to a quota.
    Quota(QuotaNews),
}

impl Incident {
    /// The incident of a response that this filter did not make, by its status.
    pub fn of_status(status: u16, reason: &str) -> Option<Self> {
        let (kind, message) = match status {
            401 | 403 => (EventKind::AuthFailure, AUTH_FAILURE),
            429 => (EventKind::RatelimitExceeded, RATE_LIMITED),
            _ => return None,
        };
        Some(Incident::Observed { kind, message, reason: client_text(reason.as_bytes()) })
    }

    /// The type of the event.
    pub fn kind(&self) -> EventKind {
        match self {
            Incident::Refusal { kind, .. } | Incident::Observed { kind, .. } | Incident::Verdict { kind, .. } => *kind,
            Incident::Quota(news) => kind_of(news.change),
        }
    }

    /// What happened to a quota, where the incident is about one and not about a request.
    pub fn of_quota(&self) -> Option<QuotaNews> {
        match self {
            Incident::Quota(news) => Some(*news),
            _ => None,
        }
    }
}

/// The type of the event for a change.
pub fn kind_of(change: QuotaChange) -> EventKind {
    match change {
        QuotaChange::Crossed(_) => EventKind::TriggerExceeded,
        QuotaChange::Renewed(_) => EventKind::QuotaRenewed,
        QuotaChange::Foretold(_) => EventKind::QuotaForecast,
    }
}

/// The request of an incident.
#[derive(Clone, Copy)]
pub struct Scene<'s> {
    pub api: &'s Api,
    pub request: &'s Request<'s>,
    /// The caller of the request.
    pub caller: &'s Caller<'s>,
    /// True if a refused request is admitted nevertheless.
    pub is_observed: bool,
}

/// Who a request's counters belong to.
pub fn owner(hash_keys: bool, api: &Api, caller: &Caller<'_>) -> Owner {
    let about = caller.about().cloned().unwrap_or_default();
    Owner {
        api_id: api.id.clone(),
        key: caller.key_text(hash_keys),
        fingerprint: caller.fingerprint(),
        org_id: caller.org_id().to_owned(),
        alias: about.alias,
        tags: about.tags,
        meta_data: about.meta_data,
        subject: subject(caller),
    }
}

/// What a caller's own counters are of.
pub fn subject(caller: &Caller<'_>) -> Subject {
    if caller.has_session() { Subject::Key } else { Subject::Identity }
}

/// The event metadata of a change of a quota.
pub fn quota_meta(owner: Owner, news: QuotaNews) -> Meta {
    let key = if news.scope == LimitScope::KeyQuota { owner.key } else { String::new() };
    let (message, limit, expected_at) = match news.change {
        QuotaChange::Crossed(limit) => (CROSSED, limit.to_string(), String::new()),
        QuotaChange::Renewed(limit) => (RENEWED, limit.to_string(), String::new()),
        QuotaChange::Foretold(at) => (FORETOLD, String::new(), at.to_rfc3339()),
    };
    Meta {
        tags: owner.tags,
        meta_data: owner.meta_data,
        alias: owner.alias,
        api_id: owner.api_id,
        message: message.to_owned(),
        expected_at,
        ..Meta::of_quota(&owner.org_id, &key, limit, news.count, news.max)
    }
}

/// The event metadata of an incident.
pub fn meta(hash_keys: bool, scene: &Scene<'_>, incident: &Incident, origin: &str) -> Meta {
    let Scene { api, request, caller, is_observed } = scene;
    let about = caller.about().cloned().unwrap_or_default();
    let base = Meta {
        org_id: caller.org_id().to_owned(),
        org: caller.org_id().to_owned(),
        api_id: api.id.clone(),
        alias: about.alias,
        tags: about.tags,
        meta_data: about.meta_data,
        ..Meta::default()
    };
    let of_request = |message: &str, key: String, base: Meta| Meta {
        message: message.to_owned(),
        path: client_text(request.path()),
        origin: client_text(origin.as_bytes()),
        key,
        ..base
    };
    let key_text = || caller.key_text(hash_keys);
    match incident {
        Incident::Refusal { message, outcome, .. } => {
            let key = match outcome {
                RequestOutcome::OrgQuotaExceeded | RequestOutcome::OrgRateLimited => caller.org_id().to_owned(),
                // Tyk names the limit of an API in this form.
                RequestOutcome::ApiRateLimited => format!("apilimiter-{}{}", caller.org_id(), api.id),
                _ => key_text(),
            };
            // Tyk gives the reason for refusing a version in this form.
            let is_reason = incident.kind() == EventKind::VersionFailure;
            let reason = outcome.refusal().filter(|_| is_reason).map(|(_, text)| text.to_owned());
            let base = Meta { would_refuse: *is_observed, ..base };
            Meta { reason: reason.unwrap_or_default(), ..of_request(message, key, base) }
        }
        Incident::Observed { message, reason, .. } => {
            Meta { reason: reason.clone(), ..of_request(message, key_text(), base) }
        }
        Incident::Verdict { kind, status } => {
            let (message, circuit_event) = match kind {
                EventKind::HostDown => ("Uptime test failed", ""),
                EventKind::HostUp => ("Uptime test succeeded", ""),
                EventKind::BreakerReset => ("Breaker Reset", "1"),
                _ => ("Breaker Tripped", "0"),
            };
            let cluster = request.text_property("xds\0cluster_name").unwrap_or_default();
            let host_info = HostInfo {
                check_url: client_text(request.path()),
                response_code: *status,
                is_tcp_error: *kind == EventKind::HostDown,
                meta_data: HostPlace { host_name: cluster.clone(), api_id: api.id.clone() },
            };
            let circuit_event = circuit_event.to_owned();
            Meta { circuit_event, cluster, host_info, ..of_request(message, String::new(), base) }
        }
        Incident::Quota(news) => quota_meta(owner(hash_keys, api, caller), *news),
    }
}

/// The details of a quota's change. `owner` is what the caller's own counters are of.
pub fn crossed(meta: &Meta, owner: Subject, news: QuotaNews) -> Crossed {
    Crossed {
        subject: match news.scope {
            LimitScope::OrgQuota | LimitScope::OrgRate => Subject::Organisation,
            _ => owner,
        },
        key: meta.key.clone(),
        alias: meta.alias.clone(),
        org_id: meta.org_id.clone(),
        api_id: meta.api_id.clone(),
        trigger_limit: meta.trigger_limit.clone(),
        used: news.count,
        max: news.max,
    }
}
