//! Workflows of Microsoft Teams that post a card when a webhook is called. The values are in `TextRun`s, which have no
//! markup, whereas a `TextBlock` and a `FactSet` have Markdown.

use super::Receiver;

pub(super) static RECEIVER: Receiver = Receiver {
    name: "teams",
    content_type: "application/json",
    uses: &[],
    shows_keys: false,
    template: r#"{"type": "message", "attachments": [{"contentType": "application/vnd.microsoft.card.adaptive", "content": {
"$schema": "http://adaptivecards.io/schemas/adaptive-card.json", "type": "AdaptiveCard", "version": "1.4",
"fallbackText": "{{plain Title 200}}", "msteams": {"width": "Full"}, "body": [
{"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": "{{plain Title 200}}", "size": "large", "weight": "bolder",
"color": "{{#if (go_eq Severity "critical" "error")}}attention{{else if (eq Severity "warning")}}warning{{else}}default{{/if}}"}]}
{{~#if Text}},
{"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": "{{plain Text 1500}}"}]}{{/if}}
{{~#each Facts}},
{"type": "RichTextBlock", "spacing": "small", "inlines": [{"type": "TextRun", "text": "{{plain Label 50}}: ", "weight": "bolder"},
{"type": "TextRun", "text": "{{plain Value 150}}"}]}{{/each}},
{"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": "{{Severity}}: {{plain Type 60}}", "isSubtle": true}]}],
"actions": [{{#each Links}}{{#unless @first}},{{/unless}}
{"type": "Action.OpenUrl", "title": "{{plain Label 40}}", "url": "{{plain URL 1000}}"}{{/each}}]}}]}"#,
};
