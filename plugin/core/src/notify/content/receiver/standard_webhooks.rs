//! The payload that Standard Webhooks recommends. The `secret` of a handler signs it.

use super::Receiver;

pub(super) static RECEIVER: Receiver = Receiver {
    name: "standard_webhooks",
    content_type: "application/json",
    uses: &[],
    shows_keys: true,
    template: r#"{"type": "{{plain Type 200}}", "timestamp": "{{TimeStamp}}", "data": {{json Data}}}"#,
};
