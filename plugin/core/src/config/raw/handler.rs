//! Event handlers as Tyk writes them: the classic form, the OAS form, and named webhooks.

use schemars::JsonSchema;
use serde_json::Value;

use super::{Named, Setting, read};
use crate::config::ConfigError;

/// Event handlers: Tyk's classic form, or a list in the form of Tyk OAS.
#[derive(Debug, JsonSchema)]
#[schemars(untagged)]
pub enum EventHandlers {
    /// As in a Tyk OAS definition's server.eventHandlers.
    Oas(Vec<OasHandler>),
    /// As in a classic API definition.
    Classic(ClassicHandlers),
}

impl Default for EventHandlers {
    fn default() -> Self {
        EventHandlers::Classic(ClassicHandlers::default())
    }
}

impl Setting for EventHandlers {
    fn read(&mut self, value: Value) -> Result<(), ConfigError> {
        *self = match value.is_array() {
            true => EventHandlers::Oas(read(value)?),
            false => EventHandlers::Classic(read(value)?),
        };
        Ok(())
    }
}

settings! {
    /// Event handlers in Tyk's classic form.
    #[derive(Debug)]
    pub struct ClassicHandlers {
        /// Handlers by the event's name.
        pub events: Named<Vec<Handler>>,
    }

    /// The part of a Tyk OAS definition's server that says who is notified of events.
    #[derive(Debug)]
    pub struct OasServer in "camelCase" {
        /// Event handlers.
        pub event_handlers: Vec<OasHandler>,
    }

    /// An event handler in the form of Tyk OAS.
    #[derive(Debug)]
    #[schemars(extend("required" = ["trigger", "type"]))]
    pub struct OasHandler in "camelCase" {
        /// Switched on.
        pub enabled: bool,
        /// The event's name.
        pub trigger: String,
        /// webhook, log or custom.
        pub r#type: String,
        /// An id, for logs.
        pub id: String,
        /// A name, for logs.
        pub name: String,
        /// Of a webhook: the request's method. GET sends no body.
        #[schemars(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "String", extend("enum" = ["GET", "PUT", "POST", "PATCH", "DELETE"], "default" = "POST"))]
        pub method: Option<String>,
        /// Of a webhook: the absolute URL to send to.
        pub url: String,
        /// Of a webhook: the name of an entry of webhooks that this handler sends to.
        pub webhook: String,
        /// Of a webhook: the name of an entry of templates, or of a built-in one; empty for the default.
        pub body_template: String,
        /// Of a webhook: headers of the request.
        pub headers: Vec<OasHeader>,
        /// Of a webhook: the cool-down, such as 1m30s; empty for none.
        pub cooldown_period: String,
        /// Of a webhook: signs messages by Standard Webhooks.
        #[schemars(schema_with = "one_or_many_schema")]
        pub secret: Vec<String> | String,
        /// Of a webhook: when a cool-down ends that held messages back, one more message says how many.
        #[schemars(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "bool", extend("default" = false))]
        pub digest: Option<bool>,
        /// Of a webhook: messages of one kind of event that go out in any minute; one digest reports the excess. 0 for no
        /// limit. By default 120, and for management events none.
        #[schemars(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "u32", range(min = 0, max = 6000))]
        pub max_per_minute: Option<u32>,
        /// Of a log handler: stands before the line.
        pub log_prefix: String,
        /// Of a custom handler, as Tyk writes it.
        pub function_name: String,
        /// Of a custom handler, as Tyk writes it.
        pub path: String,
    }

    /// A header in the form of Tyk OAS.
    #[derive(Debug)]
    #[schemars(extend("required" = ["name"]))]
    pub struct OasHeader {
        /// Its name.
        pub name: String,
        /// Its value.
        pub value: String,
    }

    /// An event handler.
    #[derive(Debug)]
    #[schemars(extend("required" = ["handler_name"]))]
    pub struct Handler {
        /// eh_web_hook_handler, eh_email_handler or eh_log_handler.
        pub handler_name: String,
        /// Its settings.
        pub handler_meta: HandlerMeta,
    }

    /// The settings of a handler.
    #[derive(Clone, Debug)]
    pub struct HandlerMeta {
        /// Switched off.
        pub disabled: bool,
        /// An id, for logs.
        pub id: String,
        /// A name, for logs.
        pub name: String,
        /// The request's method. GET sends no body.
        #[schemars(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "String", extend("enum" = ["GET", "PUT", "POST", "PATCH", "DELETE"], "default" = "POST"))]
        pub method: Option<String>,
        /// The absolute URL to send to.
        pub target_path: String,
        /// Instead of a target of its own: the name of an entry of webhooks.
        pub webhook: String,
        /// The name of an entry of templates, or of a built-in one; empty for the default.
        pub template_path: String,
        /// Headers of the request.
        pub header_map: Named<String>,
        /// The cool-down in seconds; 0 for none.
        #[schemars(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "u64", range(min = 0, max = 315_360_000), extend("default" = 0))]
        pub event_timeout: Option<u64>,
        /// Signs messages by Standard Webhooks: "whsec_" and base64, or a list of them while secrets rotate.
        #[schemars(schema_with = "one_or_many_schema")]
        pub secret: Vec<String> | String,
        /// When a cool-down ends that held messages back, one more message says how many.
        #[schemars(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "bool", extend("default" = false))]
        pub digest: Option<bool>,
        /// Messages of one kind of event that go out in any minute; one digest reports the excess. 0 for no limit. By default
        /// 120, and for management events none.
        #[schemars(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "u32", range(min = 0, max = 6000))]
        pub max_per_minute: Option<u32>,
        /// Of an eh_log_handler: stands before the line.
        pub prefix: String,
        /// Of an eh_email_handler: the address that is told, by way of email_backend. Beside it count disabled, id, name,
        /// event_timeout, digest, max_per_minute and timeout.
        pub email: String,
        /// The time for one attempt in seconds; 0 for delivery.timeout_ms.
        #[schemars(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "u64", range(min = 0, max = 600), extend("default" = 0))]
        pub timeout: Option<u64>,
    }

    /// A target with a name, for handlers to send to.
    #[derive(Clone, Debug)]
    #[schemars(extend("required" = ["name", "target_url"]))]
    pub struct NamedWebhook {
        /// Its name.
        pub name: String,
        /// The absolute URL to send to.
        pub target_url: String,
        /// The request's method. GET sends no body.
        #[schemars(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "String", extend("enum" = ["GET", "PUT", "POST", "PATCH", "DELETE"], "default" = "POST"))]
        pub method: Option<String>,
        /// The time for one attempt in seconds; 0 for delivery.timeout_ms.
        #[schemars(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "u64", range(min = 0, max = 600), extend("default" = 0))]
        pub timeout: Option<u64>,
        /// Headers of the request.
        pub headers: Named<String>,
        /// The events that it is sent, on every API, beside those whose handlers name it.
        pub events: Vec<String>,
        /// The name of an entry of templates, or of a built-in one; empty for the default.
        pub template_path: String,
        /// The cool-down in seconds; 0 for none.
        #[schemars(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "u64", range(min = 0, max = 315_360_000), extend("default" = 0))]
        pub event_timeout: Option<u64>,
        /// Signs messages by Standard Webhooks: "whsec_" and base64, or a list of them while secrets rotate.
        #[schemars(schema_with = "one_or_many_schema")]
        pub secret: Vec<String> | String,
        /// When a cool-down ends that held messages back, one more message says how many.
        #[schemars(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "bool", extend("default" = false))]
        pub digest: Option<bool>,
        /// Messages of one kind of event that go out in any minute; one digest reports the excess. 0 for no limit. By default
        /// 120, and for management events none.
        #[schemars(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "u32", range(min = 0, max = 6000))]
        pub max_per_minute: Option<u32>,
    }
}

pub fn one_or_many_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }] })
}
