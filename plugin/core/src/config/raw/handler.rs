//! Event handlers in Tyk's forms: the classic form, the OAS form, and named webhooks.

use schemars::JsonSchema;
use serde_json::Value;

use super::{Named, Setting, read};
use crate::config::ConfigError;

/// Event handlers: Tyk's classic form, or a list in the form of Tyk OAS.
#[derive(Debug, JsonSchema)]
#[schemars(untagged)]
pub enum EventHandlers {
    /// The form of server.eventHandlers in a Tyk OAS definition.
    Oas(Vec<OasHandler>),
    /// The form of a classic API definition.
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
        /// Handlers by the name of the event.
        pub events: Named<Vec<Handler>>,
    }

    /// The part of a Tyk OAS definition's server that configures event handlers.
    #[derive(Debug)]
    pub struct OasServer in "camelCase" {
        /// Event handlers.
        pub event_handlers: Vec<OasHandler>,
    }

    /// An event handler in the form of Tyk OAS.
    #[derive(Debug)]
    #[schemars(extend("required" = ["trigger", "type"]))]
    pub struct OasHandler in "camelCase" {
        /// True if the handler is active.
        pub enabled: bool,
        /// The name of the event.
        pub trigger: String,
        /// webhook, log or custom.
        pub r#type: String,
        /// An id for log lines.
        pub id: String,
        /// A name for log lines.
        pub name: String,
        /// For a webhook: the method of the request. GET sends no body.
        #[schemars(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "String", extend("enum" = ["GET", "PUT", "POST", "PATCH", "DELETE"], "default" = "POST"))]
        pub method: Option<String>,
        /// For a webhook: the absolute URL of the target.
        pub url: String,
        /// For a webhook: the name of an entry of webhooks, as the target.
        pub webhook: String,
        /// For a webhook: the name of an entry of templates or of a built-in template; empty for the default.
        pub body_template: String,
        /// For a webhook: settings of a built-in template for a receiver.
        pub receiver: ReceiverSettings,
        /// For a webhook: headers of the request.
        pub headers: Vec<OasHeader>,
        /// For a webhook: the cool-down, such as 1m30s; empty for none.
        pub cooldown_period: String,
        /// For a webhook: the secrets that sign messages by Standard Webhooks.
        #[schemars(schema_with = "one_or_many_schema")]
        pub secret: Vec<String> | String,
        /// For a webhook: after a cool-down that held messages back, one digest reports their number.
        #[schemars(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "bool", extend("default" = false))]
        pub digest: Option<bool>,
        /// For a webhook: the maximum number of messages per minute for each type of event. One digest reports the
        /// excess. 0 means no limit. The default is 120, and no limit for management events.
        #[schemars(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "u32", range(min = 0, max = 6000))]
        pub max_per_minute: Option<u32>,
        /// For a log handler: the text before each line.
        pub log_prefix: String,
        /// Which events the handler gets; by default all.
        pub when: When,
        /// For a custom handler, as in Tyk.
        pub function_name: String,
        /// For a custom handler, as in Tyk.
        pub path: String,
    }

    /// A header in the form of Tyk OAS.
    #[derive(Debug)]
    #[schemars(extend("required" = ["name"]))]
    pub struct OasHeader {
        /// The name.
        pub name: String,
        /// The value.
        pub value: String,
    }

    /// An event handler.
    #[derive(Debug)]
    #[schemars(extend("required" = ["handler_name"]))]
    pub struct Handler {
        /// eh_web_hook_handler, eh_email_handler or eh_log_handler.
        pub handler_name: String,
        /// The settings of the handler.
        pub handler_meta: HandlerMeta,
    }

    /// The settings of a handler.
    #[derive(Clone, Debug)]
    pub struct HandlerMeta {
        /// True if the handler is inactive.
        pub disabled: bool,
        /// An id for log lines.
        pub id: String,
        /// A name for log lines.
        pub name: String,
        /// The method of the request. GET sends no body.
        #[schemars(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "String", extend("enum" = ["GET", "PUT", "POST", "PATCH", "DELETE"], "default" = "POST"))]
        pub method: Option<String>,
        /// The absolute URL of the target.
        pub target_path: String,
        /// The name of an entry of webhooks, instead of a target_path.
        pub webhook: String,
        /// The name of an entry of templates or of a built-in template, such as slack; empty for the default.
        pub template_path: String,
        /// Settings of a built-in template for a receiver.
        pub receiver: ReceiverSettings,
        /// Headers of the request.
        pub header_map: Named<String>,
        /// The cool-down in seconds; 0 for none.
        #[schemars(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "u64", range(min = 0, max = 315_360_000), extend("default" = 0))]
        pub event_timeout: Option<u64>,
        /// The secret that signs messages by Standard Webhooks: "whsec_" and base64, or a list of secrets during a
        /// rotation.
        #[schemars(schema_with = "one_or_many_schema")]
        pub secret: Vec<String> | String,
        /// After a cool-down that held messages back, one digest reports their number.
        #[schemars(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "bool", extend("default" = false))]
        pub digest: Option<bool>,
        /// The maximum number of messages per minute for each type of event. One digest reports the excess. 0 means no
        /// limit. The default is 120, and no limit for management events.
        #[schemars(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "u32", range(min = 0, max = 6000))]
        pub max_per_minute: Option<u32>,
        /// For an eh_log_handler: the text before each line.
        pub prefix: String,
        /// For an eh_email_handler: the address that gets the emails, through email_backend. Such a handler also uses
        /// disabled, id, name, event_timeout, digest, max_per_minute and timeout.
        pub email: String,
        /// The time-out of one attempt in seconds; 0 for delivery.timeout_ms.
        #[schemars(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "u64", range(min = 0, max = 600), extend("default" = 0))]
        pub timeout: Option<u64>,
        /// Which events the handler gets; by default all.
        pub when: When,
    }

    /// The events that a handler gets. All conditions must hold. In a list, one of the values must match.
    #[derive(Clone, Debug, PartialEq)]
    pub struct When {
        /// The event's threshold in percent, as a comparison such as ">= 90", or several, such as ">= 50, < 90". A
        /// percentage alone must be equal. Only TriggerExceeded and QuotaRenewed have a threshold.
        pub trigger_limit: Comparisons,
        /// The id of the event's organisation.
        #[schemars(schema_with = "one_or_many_schema")]
        pub org_id: Vec<String> | String,
        /// The id of the event's API.
        #[schemars(schema_with = "one_or_many_schema")]
        pub api_id: Vec<String> | String,
        /// A tag of the session.
        #[schemars(schema_with = "one_or_many_schema")]
        pub tag: Vec<String> | String,
    }

    /// Settings of the built-in templates for receivers.
    #[derive(Clone, Debug, PartialEq)]
    pub struct ReceiverSettings {
        /// For pagerduty: the integration key of a service. It is a secret.
        pub routing_key: String,
        /// For cloudevents: the name of the gateway, a URI or a relative reference.
        pub source: String = "tollbell".to_owned(),
    }

    /// A target with a name, which handlers can use.
    #[derive(Clone, Debug)]
    #[schemars(extend("required" = ["name", "target_url"]))]
    pub struct NamedWebhook {
        /// The name.
        pub name: String,
        /// The absolute URL of the target.
        pub target_url: String,
        /// The method of the request. GET sends no body.
        #[schemars(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "String", extend("enum" = ["GET", "PUT", "POST", "PATCH", "DELETE"], "default" = "POST"))]
        pub method: Option<String>,
        /// The time-out of one attempt in seconds; 0 for delivery.timeout_ms.
        #[schemars(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "u64", range(min = 0, max = 600), extend("default" = 0))]
        pub timeout: Option<u64>,
        /// Headers of the request.
        pub headers: Named<String>,
        /// The events that the target gets from every API, in addition to those of handlers that name it.
        pub events: Vec<String>,
        /// Which events the target gets; by default all.
        pub when: When,
        /// The name of an entry of templates or of a built-in template, such as slack; empty for the default.
        pub template_path: String,
        /// Settings of a built-in template for a receiver.
        pub receiver: ReceiverSettings,
        /// The cool-down in seconds; 0 for none.
        #[schemars(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "u64", range(min = 0, max = 315_360_000), extend("default" = 0))]
        pub event_timeout: Option<u64>,
        /// The secret that signs messages by Standard Webhooks: "whsec_" and base64, or a list of secrets during a
        /// rotation.
        #[schemars(schema_with = "one_or_many_schema")]
        pub secret: Vec<String> | String,
        /// After a cool-down that held messages back, one digest reports their number.
        #[schemars(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "bool", extend("default" = false))]
        pub digest: Option<bool>,
        /// The maximum number of messages per minute for each type of event. One digest reports the excess. 0 means no
        /// limit. The default is 120, and no limit for management events.
        #[schemars(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "u32", range(min = 0, max = 6000))]
        pub max_per_minute: Option<u32>,
    }
}

/// Comparisons, or the number of one threshold.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema)]
#[schemars(extend("type" = ["string", "number"]))]
pub struct Comparisons(pub String);

impl Setting for Comparisons {
    fn read(&mut self, value: Value) -> Result<(), ConfigError> {
        match value {
            Value::Number(number) => self.0 = number.to_string(),
            text => self.0.read(text)?,
        }
        Ok(())
    }
}

pub fn one_or_many_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }] })
}
