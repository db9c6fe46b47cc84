//! The built-in templates, under Tyk's file names.

/// The template of handlers without a `template_path`.
pub(super) const DEFAULT: &str = "templates/default_webhook.json";

/// Name and source. The bodies are those of Tyk's documentation, with additional fields for digests.
pub(super) const ALL: [(&str, &str); 2] =
    [(DEFAULT, DEFAULT_WEBHOOK), ("templates/monitor_template.json", MONITOR_TEMPLATE)];

/// The types of events for which the default template shows values that differ between two events of one cause. For the
/// others, which come in large numbers, it need not be rendered twice.
pub(super) const DEFAULT_IS_VOLATILE_FOR: [&str; 4] =
    ["CertificateExpired", "CertificateExpiringSoon", "QuotaForecast", "QuotaRenewed"];

/// As in Tyk, an event that is not about a client's request has its own fields. One comparison covers all others.
const DEFAULT_WEBHOOK: &str = r#"{
    "event": "{{Type}}",
    "message": "{{Meta.Message}}",
{{#if (go_eq Type "TriggerExceeded" "QuotaRenewed" "QuotaForecast" "HostDown" "HostUp" "BreakerTripped" "BreakerReset" "BreakerTriggered"
  "UpstreamOAuthError" "CertificateExpiringSoon" "CertificateExpired" "TokenCreated" "TokenUpdated" "TokenDeleted")}}
{{#if (eq Type "TriggerExceeded")}}
    "org": "{{Meta.OrgID}}",
    "key": "{{Meta.Key}}",
    "trigger_limit": "{{Meta.TriggerLimit}}"
{{~else if (eq Type "QuotaRenewed")}}
    "org": "{{Meta.OrgID}}",
    "key": "{{Meta.Key}}",
    "usage_percentage": "{{Meta.UsagePercentage}}"
{{~else if (eq Type "QuotaForecast")}}
    "org": "{{Meta.OrgID}}",
    "key": "{{Meta.Key}}",
    "usage_percentage": "{{Meta.UsagePercentage}}",
    "expected_at": "{{Meta.ExpectedAt}}"
{{~else if (go_eq Type "HostDown" "HostUp")}}
    "url": "{{Meta.HostInfo.CheckURL}}",
    "response_code": "{{Meta.HostInfo.ResponseCode}}",
    "tcp_error": "{{Meta.HostInfo.IsTCPError}}",
    "host": "{{Meta.HostInfo.MetaData.host_name}}",
    "api_id": "{{Meta.HostInfo.MetaData.api_id}}"
{{~else if (go_eq Type "BreakerTripped" "BreakerReset" "BreakerTriggered")}}
    "api_id": "{{Meta.APIID}}",
    "path": "{{Meta.Path}}",
    "Status": "{{Meta.CircuitEvent}}"
{{~else if (eq Type "UpstreamOAuthError")}}
    "api_id": "{{Meta.APIID}}"
{{~else if (eq Type "CertificateExpiringSoon")}}
    "cert_id": "{{Meta.CertID}}",
    "cert_name": "{{Meta.CertName}}",
    "expires_at": "{{as_rfc3339 Meta.ExpiresAt}}",
    "days_remaining": {{go_printf "%d" Meta.DaysRemaining}},
    "cert_role": "{{Meta.CertRole}}",
    "api_id": "{{Meta.APIID}}",
    "timestamp": "{{as_rfc3339_from_string TimeStamp}}"
{{~else if (eq Type "CertificateExpired")}}
    "cert_id": "{{Meta.CertID}}",
    "cert_name": "{{Meta.CertName}}",
    "expired_at": "{{as_rfc3339 Meta.ExpiredAt}}",
    "days_since_expiry": {{go_printf "%d" Meta.DaysSinceExpiry}},
    "cert_role": "{{Meta.CertRole}}",
    "api_id": "{{Meta.APIID}}",
    "timestamp": "{{as_rfc3339_from_string TimeStamp}}"
{{~else}}
    "org": "{{Meta.OrgID}}",
    "key": "{{Meta.Key}}"
{{~/if}}
{{~else}}
    "path": "{{Meta.Path}}",
    "origin": "{{Meta.Origin}}",
    "key": "{{Meta.Key}}"
{{~/if}}{{#if Meta.WouldRefuse}},
    "would_refuse": true{{/if}}{{#if Meta.Suppressed}},
    "suppressed": {{Meta.Suppressed}},
    "first_seen": "{{Meta.FirstSeen}}",
    "last_seen": "{{Meta.LastSeen}}"{{/if}}{{#if Meta.Crossings}},
    "crossings": [{{#each Meta.Crossings}}{{#unless @first}},{{/unless}}
        {"org": "{{OrgID}}", "key": "{{Key}}", "trigger_limit": "{{TriggerLimit}}", "used": {{Used}}, "max": {{Max}}}{{/each}}
    ],
    "unnamed": {{Meta.Unnamed}}{{/if}}
}"#;

const MONITOR_TEMPLATE: &str = r#"{
    "event": "{{Type}}",
    "message": "{{Meta.Message}}",
    "org": "{{Meta.OrgID}}",
    "key": "{{Meta.Key}}",
    "trigger_limit": "{{Meta.TriggerLimit}}"{{#if Meta.ExpectedAt}},
    "expected_at": "{{Meta.ExpectedAt}}"{{/if}}{{#if Meta.Suppressed}},
    "suppressed": {{Meta.Suppressed}},
    "first_seen": "{{Meta.FirstSeen}}",
    "last_seen": "{{Meta.LastSeen}}"{{/if}}{{#if Meta.Crossings}},
    "crossings": [{{#each Meta.Crossings}}{{#unless @first}},{{/unless}}
        {"org": "{{OrgID}}", "key": "{{Key}}", "trigger_limit": "{{TriggerLimit}}", "used": {{Used}}, "max": {{Max}}}{{/each}}
    ],
    "unnamed": {{Meta.Unnamed}}{{/if}}
}"#;
