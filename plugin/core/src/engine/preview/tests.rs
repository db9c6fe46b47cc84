use serde_json::{Value, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

const NOW: UnixMillis = UnixMillis(1_792_570_530_250);

fn preview() -> Preview {
    let config = json!({
        "apis": [{ "api_id": "orders", "org_id": "acme", "event_handlers": { "events": {
            "AuthFailure": [
                { "handler_name": "eh_web_hook_handler", "handler_meta": {
                    "target_path": "http://hooks.example.com/tyk?dir=auth", "header_map": { "X-Test": "1" },
                    "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
                } },
                { "handler_name": "eh_log_handler", "handler_meta": { "prefix": "[A]" } },
                { "handler_name": "eh_email_handler", "handler_meta": { "email": "ops@example.com" } },
            ],
        } } }],
        "webhooks": [{ "name": "crm", "target_url": "https://crm.example.com/in", "events": ["key_event"] }],
        "email_backend": {
            "enable_email_notifications": true, "code": "sendgrid", "settings": { "ClientKey": "SG.sample" },
            "default_from_email": "tollbell@example.com", "notify_users": false,
        },
        "orgs": { "acme": {} },
    });
    match Preview::load(config.to_string().as_bytes()) {
        Ok(preview) => preview,
        Err(errors) => panic!("{errors:?}"),
    }
}

fn messages(event: &str, fields: &[(&str, &str)], handler: Option<&str>) -> Result<Vec<Previewed>, PreviewError> {
    let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    preview().messages(&Wanted { event: event.to_owned(), fields, handler: handler.map(str::to_owned) }, NOW)
}

fn request(previewed: &Previewed) -> &Request {
    match &previewed.outcome {
        Outcome::Request(request) => request,
        other => panic!("{other:?}"),
    }
}

fn header<'r>(request: &'r Request, name: &str) -> Option<&'r str> {
    request.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
}

#[test]
fn every_handler_of_an_event_has_its_message() {
    let all = messages("AuthFailure", &[("Meta.Key", "k1"), ("Meta.Path", "/a")], None).unwrap();
    let webhook = request(&all[0]);
    assert_eq!((all[0].handler.as_str(), webhook.cluster.as_str()), ("apis[orders].AuthFailure[0]", "tollbell_http"));
    assert_eq!(header(webhook, ":path"), Some("/tyk?dir=auth"));
    assert_eq!((header(webhook, "x-test"), header(webhook, "webhook-timestamp")), (Some("1"), Some("1792570530")));
    assert!(header(webhook, "webhook-signature").unwrap().starts_with("v1,"));
    let body: Value = serde_json::from_slice(&webhook.body).unwrap();
    assert_eq!(
        body,
        json!({ "event": "AuthFailure", "message": "Auth Failure", "path": "/a", "origin": "192.0.2.1", "key": "k1" })
    );
    assert_eq!(all[1].outcome, Outcome::Log);
    let mail = request(&all[2]);
    assert_eq!((header(mail, ":authority"), header(mail, ":method")), (Some("api.sendgrid.com"), Some("POST")));
    assert!(String::from_utf8_lossy(&mail.body).contains("ops@example.com"));
}

#[test]
fn management_events_have_a_payload() {
    let all = messages("key_event.add", &[("data.key_id", "k1")], Some("crm")).unwrap();
    let body: Value = serde_json::from_slice(&request(&all[0]).body).unwrap();
    assert_eq!(body, json!({ "event": "key_event.add", "data": { "key_id": "k1" } }));
    for kind in EventKind::all() {
        let all = messages(kind.name(), &[], Some("crm")).unwrap_or_else(|error| panic!("{}: {error}", kind.name()));
        let body: Value = serde_json::from_slice(&request(&all[0]).body).unwrap();
        assert!(body.is_object(), "{}", kind.name());
    }
}

#[test]
fn unknown_names_are_errors() {
    let error = |event, fields: &[(&str, &str)], handler| messages(event, fields, handler).unwrap_err().to_string();
    assert_eq!(error("AuthFailur", &[], None), r#"there is no event "AuthFailur" (did you mean "AuthFailure"?)"#);
    assert_eq!(
        error("AuthFailure", &[("Meta.Kye", "")], None),
        r#"the event has no field "Meta.Kye" (did you mean "Meta.Key"?)"#
    );
    assert!(error("AuthFailure", &[], Some("sock")).contains("apis[orders].AuthFailure[0]"));
    assert_eq!(error("AuthFailure", &[("Meta.Suppressed", "x")], None), "Meta.Suppressed must be a whole number");
    let target = preview().webhook("crm").unwrap();
    assert_eq!((target.url.as_str(), target.cluster.as_str()), ("https://crm.example.com/in", "tollbell_https"));
    assert_eq!(preview().webhook("soc").unwrap_err().to_string(), r#"no webhook has the name "soc"; there are crm"#);
}
