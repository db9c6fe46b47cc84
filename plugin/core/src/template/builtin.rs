//! The templates that come with tollbell, under Tyk's file names.

/// What a handler without a `template_path` uses.
pub(super) const DEFAULT: &str = "templates/default_webhook.json";

/// Name and source. The bodies are those of Tyk's documentation; a digest says more.
pub(super) const ALL: [(&str, &str); 2] =
    [(DEFAULT, DEFAULT_WEBHOOK), ("templates/monitor_template.json", MONITOR_TEMPLATE)];

/// As Tyk's: a crossed threshold has its own fields, every other event those of a request.
const DEFAULT_WEBHOOK: &str = r#"{{#if (eq Type "TriggerExceeded")}}{
    "event": "{{Type}}",
    "message": "{{Meta.Message}}",
    "org": "{{Meta.OrgID}}",
    "key": "{{Meta.Key}}",
    "trigger_limit": "{{Meta.TriggerLimit}}"{{#if Meta.Suppressed}},
    "suppressed": {{Meta.Suppressed}},
    "first_seen": "{{Meta.FirstSeen}}",
    "last_seen": "{{Meta.LastSeen}}"{{/if}}
}{{else}}{
    "event": "{{Type}}",
    "message": "{{Meta.Message}}",
    "path": "{{Meta.Path}}",
    "origin": "{{Meta.Origin}}",
    "key": "{{Meta.Key}}"{{#if Meta.Suppressed}},
    "suppressed": {{Meta.Suppressed}},
    "first_seen": "{{Meta.FirstSeen}}",
    "last_seen": "{{Meta.LastSeen}}"{{/if}}
}{{/if}}"#;

const MONITOR_TEMPLATE: &str = r#"{
    "event": "{{Type}}",
    "message": "{{Meta.Message}}",
    "org": "{{Meta.OrgID}}",
    "key": "{{Meta.Key}}",
    "trigger_limit": "{{Meta.TriggerLimit}}"{{#if Meta.Suppressed}},
    "suppressed": {{Meta.Suppressed}},
    "first_seen": "{{Meta.FirstSeen}}",
    "last_seen": "{{Meta.LastSeen}}"{{/if}}
}"#;
