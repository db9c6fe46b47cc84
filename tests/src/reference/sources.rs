//! Which settings have Tyk's name and meaning.

const TYK: &str = "Tyk";
const OWN: &str = "tollbell";

/// For each object of the schema the source of its settings, and the settings that have the other source.
const SOURCES: [(&str, &str, &[&str]); 42] = [
    ("", OWN, &["email_backend", "enforce_org_quotas", "event_handlers", "hash_keys", "monitor", "policies"]),
    ("AccessRight", TYK, &[]),
    ("Admin", OWN, &[]),
    ("AllowedUrl", TYK, &[]),
    (
        "Api",
        TYK,
        &[
            "enforcement",
            "identity",
            "observe",
            "observe_failures",
            "observe_upstream",
            "strict_listen_path",
            "strip_authorization_data",
        ],
    ),
    ("Auth", TYK, &["allow_preflight", "fire_on_missing_key"]),
    ("Callouts", OWN, &[]),
    ("ClassicHandlers", TYK, &[]),
    ("Delivery", OWN, &[]),
    ("EmailBackend", TYK, &["event_timeout", "notify_users"]),
    ("EmailTemplate", OWN, &[]),
    ("EventOption", TYK, &["event_timeout", "max_per_minute"]),
    ("Forecast", OWN, &[]),
    ("GlobalRateLimit", TYK, &[]),
    ("Handler", TYK, &[]),
    ("HandlerMeta", TYK, &["digest", "email", "max_per_minute", "receiver", "secret", "timeout", "webhook", "when"]),
    ("Identities", OWN, &[]),
    ("IdentityFrom", OWN, &[]),
    ("KeysFrom", OWN, &[]),
    ("Limit", TYK, &[]),
    ("Monitor", TYK, &["forecast"]),
    ("NamedWebhook", OWN, &["event_timeout", "method", "name", "template_path"]),
    ("OasHandler", TYK, &["digest", "maxPerMinute", "receiver", "secret", "webhook", "when"]),
    ("OasHeader", TYK, &[]),
    ("OasServer", TYK, &[]),
    ("Observe", OWN, &[]),
    ("ObserveRule", OWN, &[]),
    ("ObserveSource", OWN, &[]),
    ("ObserveUpstreamSettings", OWN, &[]),
    ("Org", TYK, &["counting"]),
    ("Partitions", TYK, &[]),
    ("Policy", TYK, &["counting", "monitor"]),
    ("ReceiverSettings", OWN, &[]),
    ("RedisStore", OWN, &[]),
    ("Session", TYK, &["counting"]),
    ("Store", OWN, &[]),
    ("Triggers", TYK, &[]),
    ("TykTokens", OWN, &[]),
    ("Usage", OWN, &[]),
    ("Version", OWN, &["expires"]),
    ("Versioning", TYK, &[]),
    ("When", OWN, &[]),
];

/// `Tyk` or `tollbell`; `None` for an object that the table lacks.
pub fn source(object: &str, setting: &str) -> Option<&'static str> {
    let (_, source, exceptions) = SOURCES.iter().find(|(name, ..)| *name == object)?;
    let other = if *source == TYK { OWN } else { TYK };
    Some(if exceptions.contains(&setting) { other } else { source })
}

/// Settings in the table that the schema does not have.
pub fn unknown(has: impl Fn(&str, &str) -> bool) -> Option<String> {
    let settings = SOURCES.iter().flat_map(|(object, _, exceptions)| exceptions.iter().map(move |name| (object, name)));
    settings.filter(|(object, name)| !has(object, name)).map(|(object, name)| format!("{object}.{name}")).next()
}
