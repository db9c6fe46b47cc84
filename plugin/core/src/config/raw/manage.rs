//! Management events: the exchanges that are observed, and who is notified.

use serde_json::Value;

use super::Named;

settings! {
    /// The exchanges with this API's upstream that are management events.
    #[derive(Debug)]
    pub struct Observe {
        /// The application of Tyk's that the upstream is; empty for none. The dashboard and the portal share paths, so
        /// each upstream names its own.
        #[schemars(extend("enum" = ["", "tyk-gateway", "tyk-dashboard", "tyk-portal"]))]
        pub preset: String,
        /// Rules in addition to the preset's, or instead of a preset. The most specific path that matches a request
        /// counts.
        pub rules: Vec<ObserveRule>,
        /// The largest body that is read, compressed or not, in bytes. A larger body passes and is not read.
        #[schemars(range(min = 1, max = 4_194_304))]
        pub max_body_bytes: u32 = 262_144,
    }

    /// A kind of exchange that is a management event.
    #[derive(Debug)]
    #[schemars(extend("required" = ["event", "method", "path"]))]
    pub struct ObserveRule {
        /// The event, such as key_event or UserRegistered.
        pub event: String,
        /// The action. For api_event, key_event and hashed_key_event: add, update or delete. For key_request_event:
        /// submitted, approved, updated or deleted. Other events have none.
        pub action: String,
        /// The method of the request.
        #[schemars(extend("enum" = ["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE"]))]
        pub method: String,
        /// The path of the request without the query, below the API's listen_path or complete. A segment is literal, or
        /// {name} for any segment, as in /v1/keys/{id}. A slash at the end counts.
        pub path: String,
        /// The statuses of the response that mean success; by default every 2xx.
        #[schemars(inner(range(min = 100, max = 599)))]
        pub status: Vec<u16>,
        /// The place of the organisation's id. The event_options of that organisation decide who is notified. By
        /// default it is the API's organisation. If the place has no value, no organisation is notified.
        pub org_id: ObserveSource,
        /// For a dashboard event: the place of the payload's data. Fields whose names mean credentials, such as
        /// password or shared_secret, and the values of headers are left out.
        pub data: ObserveSource,
        /// For a portal event: the places of the fields of its Message. A field that is missing or has the wrong type
        /// is left out. Text that contains a number becomes a number.
        pub message: Named<ObserveSource>,
        /// JSON pointers into data to raw keys, which are shown as their fingerprints.
        pub fingerprints: Vec<String>,
    }

    /// The place of a value in an exchange. Exactly one field is set.
    #[derive(Debug)]
    pub struct ObserveSource {
        /// In the body of the request: a JSON pointer, such as /org_id; "" for the whole body. In a form, / and the
        /// name of the field.
        #[schemars(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "String")]
        pub request: Option<String>,
        /// In the body of the response: a JSON pointer, as for request.
        #[schemars(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "String")]
        pub response: Option<String>,
        /// In the path: the name of a place in the rule's path.
        #[schemars(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "String")]
        pub path: Option<String>,
        /// In the query: the name of a parameter.
        #[schemars(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "String")]
        pub query: Option<String>,
        /// The value itself.
        #[schemars(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Value")]
        pub value: Option<Value>,
    }

    /// Who is notified of an organisation's management events, by event.
    #[derive(Clone, Debug)]
    pub struct EventOption {
        /// The absolute URL to which the event is posted; empty for none.
        pub webhook: String | null,
        /// The address that gets an email; empty for none.
        pub email: String | null,
        /// As in Tyk: whether its data planes are notified. It has no effect.
        pub redis: bool | null,
        /// The cool-down of the webhook and of the email in seconds; 0 for none.
        #[schemars(range(min = 0, max = 315_360_000))]
        pub event_timeout: u64,
        /// The maximum number of messages per minute for each type of event, to each of the two. One digest reports the
        /// excess. By default, and with 0, there is no limit.
        #[schemars(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "u32", range(min = 0, max = 6000))]
        pub max_per_minute: Option<u32>,
    }
}
