//! Management events: what is observed, and who is notified.

use serde_json::Value;

use super::Named;

settings! {
    /// Which exchanges with this API's upstream are management events.
    #[derive(Debug)]
    pub struct Observe {
        /// Which application of Tyk's the upstream is; empty for none. The dashboard and the portal share paths, so this is
        /// said for each upstream.
        #[schemars(extend("enum" = ["", "tyk-gateway", "tyk-dashboard", "tyk-portal"]))]
        pub preset: String,
        /// Rules beside the preset's, or instead of them. Of the paths that match a request, the most particular counts.
        pub rules: Vec<ObserveRule>,
        /// The largest body that is read, compressed or not, in bytes. A larger one is passed on and not looked at.
        #[schemars(range(min = 1, max = 4_194_304))]
        pub max_body_bytes: u32 = 262_144,
    }

    /// A kind of exchange that is a management event.
    #[derive(Debug)]
    #[schemars(extend("required" = ["event", "method", "path"]))]
    pub struct ObserveRule {
        /// The event, such as key_event or UserRegistered.
        pub event: String,
        /// What happened. Of api_event, key_event and hashed_key_event: add, update or delete; of key_request_event:
        /// submitted, approved, updated or deleted; others have none.
        pub action: String,
        /// The request's method.
        #[schemars(extend("enum" = ["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE"]))]
        pub method: String,
        /// The request's path without the query, below the API's listen_path or as a whole: literal segments, and {name} for
        /// any one, such as /v1/keys/{id}. A slash at the end counts.
        pub path: String,
        /// The response's statuses that are a success; by default every 2xx.
        #[schemars(inner(range(min = 100, max = 599)))]
        pub status: Vec<u16>,
        /// Where the id of the organisation stands whose event_options say who is notified; by default the API's own. Where
        /// nothing stands there, no organisation is notified.
        pub org_id: ObserveSource,
        /// Of a dashboard event: where the payload's data stands. Members that are named as credentials are, such as
        /// password or shared_secret, are left out, and the values of headers.
        pub data: ObserveSource,
        /// Of a portal event: where the fields of its Message stand. One that is not there, or not of its type, is left out;
        /// text that says a number is one.
        pub message: Named<ObserveSource>,
        /// JSON pointers into data to raw keys, which are shown as their fingerprints.
        pub fingerprints: Vec<String>,
    }

    /// Where a value of an exchange stands: one of these.
    #[derive(Debug)]
    pub struct ObserveSource {
        /// In the request's body: a JSON pointer, such as /org_id; "" for the whole. Of a form, / and the field's name.
        #[schemars(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "String")]
        pub request: Option<String>,
        /// In the response's body, likewise.
        #[schemars(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "String")]
        pub response: Option<String>,
        /// At the place of that name in the rule's path.
        #[schemars(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "String")]
        pub path: Option<String>,
        /// In the query's parameter of that name.
        #[schemars(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "String")]
        pub query: Option<String>,
        /// Here: the value itself.
        #[schemars(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Value")]
        pub value: Option<Value>,
    }

    /// Who is notified of an organisation's management events, by event.
    #[derive(Clone, Debug)]
    pub struct EventOption {
        /// The absolute URL to post the event to; empty for none.
        pub webhook: String | null,
        /// The address to tell; empty for none.
        pub email: String | null,
        /// As Tyk writes it: whether its data planes hear of the event. Has no effect.
        pub redis: bool | null,
        /// The cool-down of either in seconds; 0 for none.
        #[schemars(range(min = 0, max = 315_360_000))]
        pub event_timeout: u64,
        /// Messages of one kind of event to either that go out in any minute; one digest reports the excess. By default, and
        /// with 0, any number.
        #[schemars(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "u32", range(min = 0, max = 6000))]
        pub max_per_minute: Option<u32>,
    }
}
