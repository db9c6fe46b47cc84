//! Which events are the same to a receiver.

use md5::{Digest, Md5};

use crate::event::{Crossed, Event, EventKind, Family};

/// A text that is the same for two events of one cause: the fields of Tyk's default message without usage and times. So
/// a cool-down holds back the same events whichever receiver gets them.
pub fn cause(event: &Event) -> String {
    let meta = &event.meta;
    if let Some(management) = &event.management {
        return management.stable.clone();
    }
    let host = &meta.host_info;
    let status = host.response_code.to_string();
    let fields: &[&str] = match event.kind {
        EventKind::TriggerExceeded => &[&meta.org_id, &meta.key, &meta.trigger_limit],
        EventKind::HostDown | EventKind::HostUp => {
            &[&host.check_url, &status, &host.meta_data.host_name, &host.meta_data.api_id]
        }
        kind => match kind.family() {
            Family::Threshold => &[&meta.org_id, &meta.key],
            Family::Upstream => &[&meta.api_id, &meta.path, &meta.circuit_event],
            _ => &[&meta.path, &meta.origin, &meta.key],
        },
    };
    format!("{} {:?} {fields:?} {}", event.kind.name(), meta.message, meta.would_refuse)
}

/// Identifies the problem that an event reports or ends, in at most 64 characters, without a key. So `HostUp` ends what
/// `HostDown` has reported, and all events about a quota belong to one alert, which `QuotaRenewed` ends.
pub(super) fn dedup_key(event: &Event) -> String {
    let Event { kind, meta, fingerprint, .. } = event;
    let name = kind.name();
    let (problem, parts): (&str, &[&str]) = match kind {
        EventKind::OrgQuotaExceeded => ("quota", &[&meta.org_id]),
        EventKind::QuotaExceeded => ("quota", &[&meta.org_id, fingerprint]),
        EventKind::OrgRateLimitExceeded => (name, &[&meta.org_id]),
        EventKind::HostDown | EventKind::HostUp => ("host", &[&meta.api_id, &meta.cluster]),
        // A client can send any number of keys and paths, but has one address.
        EventKind::AuthFailure | EventKind::VersionFailure => (name, &[&meta.api_id, &meta.origin]),
        _ => match kind.family() {
            Family::Threshold if is_about_several(event) => ("quotas", &[]),
            Family::Threshold if meta.key.is_empty() => ("quota", &[&meta.org_id]),
            Family::Threshold => ("quota", &[&meta.org_id, fingerprint]),
            Family::Upstream => ("breaker", &[&meta.api_id, &meta.cluster]),
            Family::Request => (name, &[&meta.org_id, &meta.api_id, fingerprint]),
            Family::Dashboard | Family::Portal => (name, &[&event.id]),
        },
    };
    let mut md5 = Md5::new();
    for part in parts {
        md5.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
        md5.update(part);
    }
    format!("{problem}-{}", hex::encode(md5.finalize()))
}

/// True for a digest of thresholds of different quotas.
pub(super) fn is_about_several(event: &Event) -> bool {
    let owner = |crossed: &Crossed| (crossed.subject, crossed.org_id.clone(), crossed.key.clone());
    let mut crossings = event.meta.crossings.iter();
    crossings.next().is_some_and(|first| event.meta.unnamed > 0 || crossings.any(|other| owner(other) != owner(first)))
}
