//! Sample events, with the given values.

use serde_json::{Map, Value, json};

use super::{PreviewError, Wanted};
use crate::access::{Api, KeyHash, RequestOutcome};
use crate::base::{UnixMillis, hint};
use crate::config::Config;
use crate::event::{
    Crossed, Event, EventKind, Family, HostInfo, HostPlace, Management, ManagementAction, Meta, Subject,
};
use crate::observe::posted;
use crate::observe::shapes::{Field, FieldType, fields};

const KEY: &str = "sample-key";

/// An event of this type on an API.
pub(super) fn event(
    config: &Config,
    api: Option<&Api>,
    kind: EventKind,
    wanted: &Wanted,
    now: UnixMillis,
) -> Result<Event, PreviewError> {
    let org_id = api.and_then(|api| config.directory.org(api.org)).map(|org| org.id.clone()).unwrap_or_default();
    let api_id = api.map(|api| api.id.clone()).unwrap_or_default();
    let id = format!("{:011x}{:020x}", now.0, 1);
    let mut event = Event {
        kind,
        id,
        at: now,
        meta: Meta { org_id: org_id.clone(), org: org_id, api_id, ..Meta::default() },
        fingerprint: String::new(),
        management: None,
        crossed: None,
    };
    match kind {
        kind if kind.is_management() => of_management(&mut event, kind, wanted, now)?,
        kind => of_gateway(&mut event, kind, wanted, config.notifications.hash_keys)?,
    }
    Ok(event)
}

fn of_gateway(event: &mut Event, kind: EventKind, wanted: &Wanted, hash_keys: bool) -> Result<(), PreviewError> {
    let fingerprint = KeyHash::of(KEY.as_bytes()).fingerprint();
    let meta = &mut event.meta;
    message(kind).clone_into(&mut meta.message);
    match kind {
        EventKind::TriggerExceeded | EventKind::QuotaRenewed => {
            "80".clone_into(&mut meta.trigger_limit);
            "80".clone_into(&mut meta.usage_percentage);
        }
        EventKind::QuotaForecast => {
            "60".clone_into(&mut meta.usage_percentage);
            meta.expected_at = event.at.plus(3_600_000).to_rfc3339();
        }
        kind if kind.is_of_upstream() => {
            "upstream".clone_into(&mut meta.cluster);
            let place = HostPlace { host_name: "upstream".to_owned(), api_id: meta.api_id.clone() };
            meta.host_info =
                HostInfo { check_url: "/".to_owned(), response_code: 503, is_tcp_error: true, meta_data: place };
            if kind == EventKind::BreakerReset { "1" } else { "0" }.clone_into(&mut meta.circuit_event);
        }
        _ => {}
    }
    if kind.family() != Family::Threshold {
        "/sample".clone_into(&mut meta.path);
        "192.0.2.1".clone_into(&mut meta.origin);
    }
    if matches!(kind, EventKind::OrgQuotaExceeded | EventKind::OrgRateLimitExceeded) {
        meta.key.clone_from(&meta.org_id);
    } else if !kind.is_of_upstream() {
        meta.key = if hash_keys { fingerprint.clone() } else { KEY.to_owned() };
        event.fingerprint = fingerprint;
    }
    for (name, value) in &wanted.fields {
        match name.as_str() {
            "ID" => event.id.clone_from(value),
            "Meta.Fingerprint" | "EventMetaData.Fingerprint" => event.fingerprint.clone_from(value),
            _ => set(&mut event.meta, name, value)?,
        }
    }
    // A digest reports crossings in a list.
    if kind.family() == Family::Threshold && event.meta.suppressed == 0 {
        let meta = &event.meta;
        event.crossed = Some(Box::new(Crossed {
            subject: if meta.key.is_empty() { Subject::Organisation } else { Subject::Key },
            key: meta.key.clone(),
            alias: meta.alias.clone(),
            org_id: meta.org_id.clone(),
            api_id: meta.api_id.clone(),
            trigger_limit: meta.trigger_limit.clone(),
            used: 80,
            max: 100,
        }));
    }
    Ok(())
}

/// The first of the messages that events of this type have.
fn message(kind: EventKind) -> &'static str {
    match kind {
        EventKind::TriggerExceeded => "Quota trigger reached",
        EventKind::QuotaRenewed => "Quota renewed",
        EventKind::QuotaForecast => "Quota will be used up",
        EventKind::HostDown => "Uptime test failed",
        EventKind::HostUp => "Uptime test succeeded",
        EventKind::BreakerReset => "Breaker Reset",
        EventKind::BreakerTripped | EventKind::BreakerTriggered => "Breaker Tripped",
        kind => {
            let messages = RequestOutcome::all().filter_map(|outcome| outcome.event());
            messages.filter(|(of, _)| *of == kind).map(|(_, message)| message).next().unwrap_or_default()
        }
    }
}

/// Sets a metadata field by its name in templates.
fn set(meta: &mut Meta, name: &str, value: &str) -> Result<(), PreviewError> {
    const KNOWN: [&str; 28] = [
        "ID",
        "Meta.Message",
        "Meta.Path",
        "Meta.Origin",
        "Meta.Key",
        "Meta.OrgID",
        "Meta.APIID",
        "Meta.Reason",
        "Meta.Org",
        "Meta.CircuitEvent",
        "Meta.Cluster",
        "Meta.Alias",
        "Meta.TriggerLimit",
        "Meta.UsagePercentage",
        "Meta.ExpectedAt",
        "Meta.WouldRefuse",
        "Meta.FirstSeen",
        "Meta.LastSeen",
        "Meta.Suppressed",
        "Meta.Fingerprint",
        "Meta.Crossings",
        "Meta.Unnamed",
        "Meta.Tags",
        "Meta.HostInfo.CheckURL",
        "Meta.HostInfo.ResponseCode",
        "Meta.HostInfo.IsTCPError",
        "Meta.HostInfo.MetaData.host_name",
        "Meta.HostInfo.MetaData.api_id",
    ];
    let wrong = |expected| PreviewError::WrongValue { field: name.to_owned(), expected };
    let field = name.strip_prefix("Meta.").or_else(|| name.strip_prefix("EventMetaData.")).unwrap_or_default();
    let text = match field {
        "Message" => &mut meta.message,
        "Path" => &mut meta.path,
        "Origin" => &mut meta.origin,
        "Key" => &mut meta.key,
        "OrgID" => &mut meta.org_id,
        "APIID" => &mut meta.api_id,
        "Reason" => &mut meta.reason,
        "Org" => &mut meta.org,
        "CircuitEvent" => &mut meta.circuit_event,
        "Cluster" => &mut meta.cluster,
        "Alias" => &mut meta.alias,
        "TriggerLimit" => &mut meta.trigger_limit,
        "UsagePercentage" => &mut meta.usage_percentage,
        "ExpectedAt" => &mut meta.expected_at,
        "FirstSeen" => &mut meta.first_seen,
        "LastSeen" => &mut meta.last_seen,
        "HostInfo.CheckURL" => &mut meta.host_info.check_url,
        "HostInfo.MetaData.host_name" => &mut meta.host_info.meta_data.host_name,
        "HostInfo.MetaData.api_id" => &mut meta.host_info.meta_data.api_id,
        "Suppressed" => {
            meta.suppressed = value.parse().map_err(|_| wrong("a whole number"))?;
            return Ok(());
        }
        "WouldRefuse" => {
            meta.would_refuse = value.parse().map_err(|_| wrong("true or false"))?;
            return Ok(());
        }
        "Unnamed" => {
            meta.unnamed = value.parse().map_err(|_| wrong("a whole number"))?;
            return Ok(());
        }
        "Crossings" => {
            let list: Vec<Value> = serde_json::from_str(value).map_err(|_| wrong("a list of objects in JSON"))?;
            meta.crossings = list.iter().map(crossed).collect();
            return Ok(());
        }
        "Tags" => {
            meta.tags = value.split(',').map(str::to_owned).collect();
            return Ok(());
        }
        "HostInfo.ResponseCode" => {
            meta.host_info.response_code = value.parse().map_err(|_| wrong("a status"))?;
            return Ok(());
        }
        "HostInfo.IsTCPError" => {
            meta.host_info.is_tcp_error = value.parse().map_err(|_| wrong("true or false"))?;
            return Ok(());
        }
        _ => match field.strip_prefix("MetaData.") {
            Some(member) => meta.meta_data.entry(member.to_owned()).or_default(),
            None => return Err(PreviewError::UnknownField { name: name.to_owned(), hint: hint(name, KNOWN) }),
        },
    };
    value.clone_into(text);
    Ok(())
}

/// A crossing from its fields in templates.
fn crossed(fields: &Value) -> Crossed {
    let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let number = |name: &str| fields.get(name).and_then(Value::as_u64).unwrap_or_default();
    let subject = [Subject::Key, Subject::Organisation, Subject::Identity];
    Crossed {
        subject: subject.into_iter().find(|subject| subject.name() == text("Subject")).unwrap_or_default(),
        key: text("Key"),
        alias: text("Alias"),
        org_id: text("OrgID"),
        api_id: text("APIID"),
        trigger_limit: text("TriggerLimit"),
        used: number("Used"),
        max: number("Max"),
    }
}

fn of_management(event: &mut Event, kind: EventKind, wanted: &Wanted, now: UnixMillis) -> Result<(), PreviewError> {
    let name = match kind.actions().first() {
        Some(action) if !wanted.event.contains('.') => format!("{}.{}", wanted.event, action.name()),
        _ => wanted.event.clone(),
    };
    let mut payload = object(fields(kind), now);
    for (name, value) in &wanted.fields {
        let path = ["data.", "Message.", "Meta."].into_iter().find_map(|prefix| name.strip_prefix(prefix));
        let Some(path) = path else {
            let hint = " (write data. before the name of a field of the payload)".to_owned();
            return Err(PreviewError::UnknownField { name: name.clone(), hint });
        };
        // A value that is not JSON is text.
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value.as_str()));
        place(&mut payload, path, value);
    }
    let json = json!({ "event": name, "org_id": event.meta.org_id, "data": payload });
    let occurrence = posted(&json, now).map_err(PreviewError::Payload)?;
    event.meta.message = occurrence.name();
    event.management = Some(Box::new(Management {
        name: occurrence.name(),
        action: occurrence.action.map_or("", ManagementAction::name),
        body: occurrence.body(now),
        stable: occurrence.stable_body(),
        payload: occurrence.payload,
        concerned: occurrence.concerned,
    }));
    Ok(())
}

fn object(fields: &[Field], now: UnixMillis) -> Value {
    let sample = |field: &Field| match field.of {
        FieldType::Integer => Value::from(1),
        FieldType::Text if field.name.to_ascii_lowercase().contains("email") => "sample@example.com".into(),
        FieldType::Text => "sample".into(),
        FieldType::Time => now.to_rfc3339().into(),
        FieldType::Boolean => Value::Bool(false),
        FieldType::Integers => json!([1]),
        FieldType::Texts => json!(["sample"]),
        FieldType::Attributes => json!([]),
        FieldType::Object => json!({}),
        FieldType::Fields(fields) => object(fields, now),
    };
    Value::Object(fields.iter().map(|field| (field.name.to_owned(), sample(field))).collect())
}

/// Sets the value at a path such as `portal_developer.email`.
fn place(payload: &mut Value, path: &str, value: Value) {
    let mut at = payload;
    for name in path.split('.') {
        if !at.is_object() {
            *at = Value::Object(Map::new());
        }
        let Value::Object(members) = at else { return };
        at = members.entry(name).or_insert(Value::Null);
    }
    *at = value;
}
