//! The Alert API of Opsgenie and Jira Service Management. All details together may have 8,000 characters.

use super::{Receiver, Use};

pub(super) static RECEIVER: Receiver = Receiver {
    name: "opsgenie",
    content_type: "application/json",
    uses: &[Use::Authorization],
    shows_keys: false,
    template: r#"{"message": "{{plain Title 130}}", "alias": "{{plain DedupKey 512}}",
"priority": "{{#if (eq Severity "critical")}}P1{{else if (eq Severity "error")}}P2{{else if (eq Severity "warning")}}P3{{else}}P5{{/if}}",
"source": "tollbell", "entity": "{{plain API 512}}", "tags": ["tollbell", "{{plain Type 50}}"],
"details": {"Message": "{{plain Text 700}}"{{#each Facts}},
"{{plain Label 30}}": "{{plain Value 80}}"{{/each}}{{#each Links}},
"{{plain Label 40}}": "{{plain URL 1000}}"{{/each}}}}"#,
};
