//! CloudEvents 1.0, in structured mode.

use super::{Receiver, Use};

pub(super) static RECEIVER: Receiver = Receiver {
    name: "cloudevents",
    content_type: "application/cloudevents+json; charset=utf-8",
    uses: &[Use::Source],
    shows_keys: true,
    template: r#"{"specversion": "1.0", "id": "{{ID}}", "source": "{{Source}}", "type": "tollbell.{{plain Type 200}}",
"time": "{{TimeStamp}}", {{#if API}}"subject": "{{plain API 255}}", {{/if}}"datacontenttype": "application/json",
"data": {{json Data}}}"#,
};
