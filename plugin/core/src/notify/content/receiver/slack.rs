//! Slack's incoming webhooks, with Block Kit. All texts are `plain_text`, because its `mrkdwn` has no way to escape
//! formatting.

use super::Receiver;

pub(super) static RECEIVER: Receiver = Receiver {
    name: "slack",
    content_type: "application/json",
    uses: &[],
    shows_keys: false,
    template: r#"{"text": "{{slack Title 300}}", "blocks": [
{"type": "header", "text": {"type": "plain_text", "text": "{{slack Title 150}}", "emoji": false}},
{{#if Text}}{"type": "section", "text": {"type": "plain_text", "text": "{{slack Text 3000}}", "emoji": false}},
{{/if}}{{#each Rows}}{"type": "section", "fields": [{{#each this}}{{#unless @first}},{{/unless}}
{"type": "plain_text", "text": "{{slack Label 100}}: {{slack Value 400}}", "emoji": false}{{/each}}]},
{{/each}}{{#if Links}}{"type": "actions", "elements": [{{#each Links}}{{#unless @first}},{{/unless}}
{"type": "button", "text": {"type": "plain_text", "text": "{{slack Label 75}}", "emoji": false}, "url": "{{plain URL 3000}}"}{{/each}}]},
{{/if}}{"type": "context", "elements": [{"type": "plain_text", "text": "{{Severity}}: {{slack Type 200}}", "emoji": false}]}]}"#,
};
