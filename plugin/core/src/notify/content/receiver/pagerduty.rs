//! Version 2 of PagerDuty's Events API. The routing key is added at each attempt, because it is a secret.

use super::{Receiver, Use};

pub(super) static RECEIVER: Receiver = Receiver {
    name: "pagerduty",
    content_type: "application/json",
    uses: &[Use::RoutingKey],
    shows_keys: false,
    template: r#"{"event_action": "{{#if Resolves}}resolve{{else}}trigger{{/if}}", "dedup_key": "{{plain DedupKey 255}}"
{{~#unless Resolves}}, "client": "tollbell",
"payload": {"summary": "{{plain Title 1024}}", "severity": "{{Severity}}", "timestamp": "{{TimeStamp}}",
"source": "{{#if API}}{{plain API 255}}{{else}}tollbell{{/if}}", "group": "{{plain Organisation 255}}", "class": "{{plain Type 255}}",
"custom_details": {"Message": "{{plain Text 2000}}"{{#each Facts}},
"{{plain Label 100}}": "{{plain Value 1000}}"{{/each}}}},
"links": [{{#each Links}}{{#unless @first}}, {{/unless}}{"href": "{{plain URL 1000}}", "text": "{{plain Label 100}}"}{{/each}}]{{/unless}}}"#,
};
