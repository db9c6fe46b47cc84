//! Discord's webhooks. An embed may have 6,000 characters, and Discord does not count URLs. So each link is an embed of
//! its own.

use super::Receiver;

pub(super) static RECEIVER: Receiver = Receiver {
    name: "discord",
    content_type: "application/json",
    uses: &[],
    shows_keys: false,
    template: r#"{"allowed_mentions": {"parse": []}, "embeds": [{"title": "{{discord Title 256}}",
{{#if Text}}"description": "{{discord Text 1500}}",
{{/if}}"color": {{#if (go_eq Severity "critical" "error")}}15158332{{else if (eq Severity "warning")}}15844367{{else}}3447003{{/if}},
"timestamp": "{{TimeStamp}}", "footer": {"text": "{{Severity}}: {{plain Type 200}}"}, "fields": [{{#each Facts}}{{#unless @first}},{{/unless}}
{"name": "{{discord Label 60}}", "value": "{{discord Value 180}}", "inline": true}{{/each}}]}
{{~#each Links}},
{"title": "{{discord Label 256}}", "url": "{{plain URL 1000}}"}{{/each}}]}"#,
};
