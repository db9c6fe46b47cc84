use std::io::Write;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use tollbell_tests::envoy::{Envoy, Setup};
use tollbell_tests::server::Server;

use super::sha256;
use super::stand_in::{Answer, Parts, Seen, StandIn, send};
use crate::support::{SOON, shared};

const ORG: &str = "5e2743567c1f8800018bdf35";
const RAW_KEY: &str = "5e2743567c1f8800018bdf35f00";
const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
const HTML: &str = "text/html; charset=utf-8";

/// An exchange with an application, and the messages that it comes to: a dashboard event's `data`, a portal event's
/// `Message`.
struct Exchange {
    method: &'static str,
    target: String,
    request: (&'static str, Vec<u8>),
    status: u16,
    response: (&'static str, Vec<u8>),
    location: &'static str,
    expected: Vec<(&'static str, Value)>,
}

impl Exchange {
    fn json(operation: &str, request: Value, response: Value, expected: &[(&'static str, Value)]) -> Self {
        let (method, target) = operation.split_once(' ').expect("a method and a target");
        let method = ["POST", "PUT", "PATCH", "DELETE"].into_iter().find(|known| *known == method).expect("a method");
        let request = if request.is_null() { Vec::new() } else { request.to_string().into_bytes() };
        Exchange {
            method,
            target: target.to_owned(),
            request: (if request.is_empty() { "" } else { JSON }, request),
            status: 200,
            response: (JSON, response.to_string().into_bytes()),
            location: "",
            expected: expected.to_vec(),
        }
    }

    /// A page: a form, answered with a redirect.
    fn form(target: &str, form: &str, location: &'static str, expected: &[(&'static str, Value)]) -> Self {
        Exchange {
            request: (FORM, form.as_bytes().to_vec()),
            status: 302,
            response: (HTML, b"<a href=/>Found</a>".to_vec()),
            location,
            ..Exchange::json(&format!("POST {target}"), Value::Null, Value::Null, expected)
        }
    }

    fn with_status(self, status: u16) -> Self {
        Exchange { status, ..self }
    }
}

fn fingerprint(key: &str) -> String {
    format!("sha256:{}", sha256(key))
}

/// What the gateway's own API is asked; the tests' organisation is `acme`.
fn gateway() -> Vec<Exchange> {
    let session = json!({ "org_id": "acme", "alias": "a", "basic_auth_data": { "password": "hunter2" } });
    let shown = json!({ "org_id": "acme", "alias": "a", "basic_auth_data": {} });
    let ok = |key: &str, action: &str| json!({ "key": key, "status": "ok", "action": action, "key_hash": "6dc2dfc0" });
    let key = |key: &str| json!({ "key_id": fingerprint(key), "key_hash": "6dc2dfc0" });
    let with = |mut value: Value, name: &str, member: &Value| {
        value[name] = member.clone();
        value
    };
    let definition = json!({ "name": "n", "org_id": "acme", "active": true });
    let api = |id: &str| json!({ "api_definition": with(definition.clone(), "api_id", &json!(id)) });
    let oas = json!({ "openapi": "3.0.3", "x-tyk-api-gateway": { "info": { "orgId": "acme", "name": "n" } } });
    let document = json!({ "api_definition": { "api_id": "i", "org_id": "acme", "name": "n" }, "oas": oas });
    let error = json!({ "status": "error", "message": "no" });
    vec![
        Exchange::json(
            "POST /gw/tyk/keys/create",
            session.clone(),
            ok(RAW_KEY, "added"),
            &[("key_event.add", with(key(RAW_KEY), "data", &shown))],
        ),
        Exchange::json(
            "PUT /gw/tyk/keys/mine",
            session.clone(),
            ok("mine", "modified"),
            &[("key_event.update", with(key("mine"), "data", &shown))],
        ),
        Exchange::json(
            "DELETE /gw/tyk/keys/mine",
            Value::Null,
            ok("mine", "deleted"),
            &[("key_event.delete", key("mine"))],
        ),
        Exchange::json(
            "DELETE /gw/tyk/keys/6dc2dfc0?hashed=true",
            Value::Null,
            ok("6dc2dfc0", "deleted"),
            &[
                ("hashed_key_event.delete", json!({ "key_hash": "6dc2dfc0" })),
                ("key_event.delete", json!({ "key_hash": "6dc2dfc0" })),
            ],
        ),
        Exchange::json(
            &format!("DELETE /gw/tyk/keys/{RAW_KEY}?hashed=true&org_id=acme"),
            Value::Null,
            json!({ "key": RAW_KEY, "key_hash": RAW_KEY, "status": "ok" }),
            &[("key_event.delete", json!({ "key_id": fingerprint(RAW_KEY) }))],
        ),
        Exchange::json(
            "DELETE /gw/tyk/keys/all?api_id=-1",
            Value::Null,
            Value::Null,
            &[("key_event.delete", json!({ "key_id": fingerprint("all") }))],
        ),
        Exchange::json("POST /gw/tyk/apis", definition.clone(), ok("i", "added"), &[("api_event.add", api("i"))]),
        Exchange::json(
            "PUT /gw/tyk/apis/i/",
            definition.clone(),
            ok("i", "modified"),
            &[("api_event.update", api("i"))],
        ),
        Exchange::json("PATCH /gw/tyk/apis/oas/i", oas.clone(), ok("i", "modified"), &[("api_event.update", document)]),
        Exchange::json(
            "DELETE /gw/tyk/mcps/i",
            Value::Null,
            ok("i", "deleted"),
            &[("api_event.delete", json!({ "api_definition": { "api_id": "i" } }))],
        ),
        Exchange::json("POST /gw/tyk/keys/preview", session.clone(), ok("x", "added"), &[]),
        Exchange::json("POST /gw/tyk/org/keys/acme", session.clone(), ok("acme", "added"), &[]),
        Exchange::json("POST /gw/tyk/policies", json!({}), ok("p", "added"), &[]),
        Exchange::json("POST /gw/tyk/keys/create", session.clone(), error.clone(), &[]),
        Exchange::json("POST /gw/tyk/keys/create", session.clone(), ok(RAW_KEY, "added"), &[]).with_status(500),
        Exchange::json("PUT /gw/tyk/apis/i", definition, error, &[]).with_status(400),
    ]
}

fn dashboard() -> Vec<Exchange> {
    let says = |message: &str| json!({ "Status": "OK", "Message": message, "Meta": null });
    let created = json!({ "Status": "OK", "Message": "API created", "Meta": "d", "ID": "i" });
    let wrapper = json!({ "api_definition": { "org_id": "acme", "name": "n" }, "user_owners": ["u"] });
    let mut named = wrapper.clone();
    named["api_definition"] = json!({ "org_id": "acme", "name": "n", "api_id": "i" });
    let mut added = named.clone();
    added["api_definition"]["id"] = json!("d");
    let mut with_secrets = wrapper.clone();
    let secrets = json!({ "notifications": { "shared_secret": "hunter2" }, "auth_token": "hunter2",
        "global_headers": { "Authorization": "hunter2" }, "target_url": "http://u:hunter2@h.test/" });
    let without = [
        ("notifications", json!({})),
        ("global_headers", json!({ "Authorization": "" })),
        ("target_url", json!("http://h.test/")),
    ];
    for (name, value) in secrets.as_object().expect("an object") {
        with_secrets["api_definition"][name] = value.clone();
    }
    for (name, value) in without {
        added["api_definition"][name] = value;
    }
    let oas = json!({ "x-tyk-api-gateway": { "info": { "orgId": "acme", "name": "n" } } });
    let session = json!({ "org_id": "acme", "alias": "a" });
    let made = |raw: &str| json!({ "api_model": {}, "key_id": raw, "key_hash": "6dc2dfc0", "data": session });
    let shown =
        |raw: &str| json!({ "api_model": {}, "key_id": fingerprint(raw), "key_hash": "6dc2dfc0", "data": session });
    let request =
        json!({ "by_user": "u", "org_id": "acme", "apply_policies": ["p"], "version": "v2", "approved": false });
    let mut submitted = request.clone();
    submitted["id"] = json!("r1");
    vec![
        Exchange::json("POST /db/api/keys", session.clone(), made(RAW_KEY), &[("key_event.add", shown(RAW_KEY))]),
        Exchange::json(
            "PUT /db/api/apis/i/keys/mine",
            session.clone(),
            made("mine"),
            &[("key_event.update", shown("mine"))],
        ),
        Exchange::json(
            "DELETE /db/api/keys/mine",
            Value::Null,
            says("Key deleted successfully."),
            &[("key_event.delete", json!({ "key_id": fingerprint("mine") }))],
        ),
        Exchange::json(
            &format!("DELETE /db/api/keys/{RAW_KEY}?hashed=false"),
            Value::Null,
            says("Key deleted successfully."),
            &[("key_event.delete", json!({ "key_id": fingerprint(RAW_KEY) }))],
        ),
        Exchange::json("POST /db/api/apis", with_secrets, created.clone(), &[("api_event.add", added)]),
        Exchange::json("PUT /db/api/apis/i", wrapper.clone(), says("API updated"), &[("api_event.update", named)]),
        Exchange::json(
            "DELETE /db/api/apis/i",
            Value::Null,
            says("API deleted"),
            &[("api_event.delete", json!({ "api_definition": { "api_id": "i" } }))],
        ),
        Exchange::json(
            "POST /db/api/apis/oas",
            oas.clone(),
            created.clone(),
            &[(
                "api_event.add",
                json!({ "api_definition": { "api_id": "i", "id": "d", "org_id": "acme", "name": "n" }, "oas": oas }),
            )],
        ),
        Exchange::json(
            "POST /db/api/portal/requests",
            request.clone(),
            says("r1"),
            &[("key_request_event.submitted", submitted.clone())],
        ),
        Exchange::json(
            "PUT /db/api/portal/requests/r1",
            request,
            says("r1"),
            &[("key_request_event.updated", submitted)],
        ),
        Exchange::json(
            "PUT /db/api/portal/requests/approve/r1",
            Value::Null,
            json!({ "RawKey": RAW_KEY, "Password": "hunter2" }),
            &[
                ("key_request_event.approved", json!({ "id": "r1", "approved": true })),
                ("key_event.add", json!({ "key_id": fingerprint(RAW_KEY) })),
            ],
        ),
        Exchange::json(
            "DELETE /db/api/portal/requests/r1",
            Value::Null,
            says("Data deleted"),
            &[("key_request_event.deleted", json!({ "id": "r1" }))],
        ),
        Exchange::json(
            "POST /db/api/portal/developers/password/d1",
            json!({ "password": "hunter2" }),
            json!({ "Message": "Password changed" }),
            &[("portal_password_reset_event", json!({ "id": "d1" }))],
        ),
        Exchange::json("POST /db/api/keys", session.clone(), made(RAW_KEY), &[]).with_status(500),
        Exchange::json("POST /db/api/apis", wrapper.clone(), json!({ "Status": "Error", "Message": "no" }), &[]),
        Exchange::json("POST /db/api/apis", wrapper, created, &[]).with_status(403),
        Exchange::json("POST /db/api/portal/developers", json!({ "email": "a@acme.test" }), says("d1"), &[]),
    ]
}

fn portal() -> Vec<Exchange> {
    let user = |active: bool| {
        json!({ "ID": 7, "Email": "dev@acme.test", "First": "Test", "Last": "User", "OrganisationID": 2,
            "Organisation": "Acme", "Provider": "password", "Active": active, "Role": "r", "Teams": [],
            "CreatedAt": "2024-04-22 16:38", "UpdatedAt": "u", "JWTToken": "hunter2" })
    };
    let shown = |status: &str| {
        json!({ "ID": 7, "Email": "dev@acme.test", "First": "Test", "Last": "User", "OrgID": 2, "Provider": "password",
            "Status": status })
    };
    let done = json!({ "status": "ok", "message": "m" });
    let person = json!({ "Email": "dev@acme.test", "First": "Jörg & Co", "Last": "<User>" });
    let mut signed_up = person.clone();
    signed_up["CustomAttributes"] = json!([{ "Identifier": "company-name", "Value": "ACME" }]);
    const PERSON: &str = "email=dev%40acme.test&first=J%C3%B6rg+%26+Co&last=%3CUser%3E";
    let register = format!("{PERSON}&password1=hunter2&password2=hunter2&company-name=ACME");
    let made = |time: &str| json!({ "ID": 1, "Name": "A", "UserID": 2, "CreatedAt": time });
    // Which moment the portal's own times are, nobody can tell.
    let timeless = json!({ "ID": 1, "Name": "A", "UserID": 2 });
    let boundary = "multipart/form-data; boundary=XyZ";
    let part = |(name, value)| format!("--XyZ\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    let cart = [("catalogue-id", "1"), ("plan-for-1", "2"), ("selected-app", "3"), ("credential_action", "new")];
    let cart: String = cart.map(part).concat() + "--XyZ--\r\n";
    let organisation = json!({ "ID": 8, "Name": "O" });
    vec![
        Exchange::json(
            "POST /dev/portal-api/users",
            json!({ "Password": "hunter2" }),
            user(true),
            &[("UserRegistered", shown("active"))],
        ),
        Exchange::json(
            "PUT /dev/portal-api/users/7",
            json!({ "Active": true }),
            user(true),
            &[("UserAccountActivated", shown("active"))],
        ),
        Exchange::json(
            "PUT /dev/portal-api/users/7",
            json!({ "Active": false }),
            user(false),
            &[("UserAccountDeactivated", shown("inactive"))],
        ),
        Exchange::json("PUT /dev/portal-api/users/7", json!({ "Last": "User" }), user(true), &[]),
        Exchange::json("PUT /dev/portal-api/users/7", json!({ "Last": "User", "Active": true }), user(true), &[]),
        Exchange::json(
            "POST /dev/portal-api/apps",
            json!({ "Name": "A" }),
            made("2024-04-18 13:29"),
            &[("ApplicationRegistered", timeless)],
        ),
        Exchange::json(
            "POST /dev/portal-api/apps",
            json!({ "Name": "A" }),
            made("2024-04-18T13:29:23.738726+02:00"),
            &[("ApplicationRegistered", made("2024-04-18T13:29:23.738726+02:00"))],
        ),
        Exchange::json(
            "POST /dev/portal-api/apps/3/custom_credentials",
            json!({}),
            json!({ "ID": 1, "CreatedAt": "2024-04-18 13:48", "Credential": "hunter2" }),
            &[("CredentialRegistered", json!({ "ID": 1, "AppID": 3 }))],
        )
        .with_status(201),
        Exchange::json(
            "PUT /dev/portal-api/apps/3/provision",
            Value::Null,
            done.clone(),
            &[("AccessRequestCreated", json!({ "AppID": 3 }))],
        ),
        Exchange::json(
            "PUT /dev/portal-api/access_requests/6/approve",
            Value::Null,
            done.clone(),
            &[("AccessRequestApproved", json!({ "ID": 6, "Status": "approved" }))],
        ),
        Exchange::json(
            "PUT /dev/portal-api/access_requests/6/reject",
            Value::Null,
            done,
            &[("AccessRequestRejected", json!({ "ID": 6, "Status": "rejected" }))],
        ),
        Exchange::json(
            "POST /dev/portal-api/organisations",
            json!({ "Name": "O" }),
            json!({ "ID": 8, "Name": "O", "CreatedAt": "2024-04-18 16:12" }),
            &[("OrganisationRegistered", organisation)],
        ),
        Exchange::form("/dev/auth/password/register", &register, "/auth/login", &[("UserRegistered", signed_up)]),
        Exchange::form(
            "/dev/portal/private/users/invite",
            &format!("{PERSON}&role=r"),
            "/portal/private/users",
            &[("UserRegistered", person)],
        ),
        Exchange::form(
            "/dev/admin/users/7/activate",
            "_method=put",
            "/admin/users",
            &[("UserAccountActivated", json!({ "ID": 7, "Status": "active" }))],
        ),
        Exchange::form(
            "/dev/admin/admin_users/7/deactivate",
            "",
            "/admin/admin_users",
            &[("UserAccountDeactivated", json!({ "ID": 7, "Status": "inactive" }))],
        ),
        Exchange::form(
            "/dev/auth/password/recover",
            "email=dev%40acme.test",
            "/auth/login?sent",
            &[("PasswordReset", json!({ "Email": "dev@acme.test" }))],
        ),
        Exchange::form(
            "/dev/portal/private/apps",
            "mode=create&name=New+App",
            "/portal/private/apps/3",
            &[("ApplicationRegistered", json!({ "Name": "New App" }))],
        ),
        Exchange {
            request: (boundary, cart.into_bytes()),
            ..Exchange::form(
                "/dev/portal/private/cart/provision",
                "",
                "/portal/private/cart",
                &[("AccessRequestCreated", json!({ "AppID": 3, "PlanID": 2 }))],
            )
        },
        Exchange::form(
            "/dev/admin/access_requests/7/approve",
            "_method=put",
            "/admin/access_requests",
            &[("AccessRequestApproved", json!({ "ID": 7, "Status": "approved" }))],
        ),
        Exchange::form(
            "/dev/admin/organisations",
            "QorResource.Name=O",
            "/admin/organisations/8",
            &[("OrganisationRegistered", json!({ "Name": "O" }))],
        ),
        Exchange::form(
            "/dev/portal/private/organisation",
            "name=ACME",
            "/portal/private/dashboard",
            &[("OrganisationRequestCreated", json!({ "Name": "ACME" }))],
        ),
        // Failures: back to the form, to the login, an error.
        Exchange::form("/dev/auth/password/register", &register, "/auth/password/register", &[]),
        Exchange::form("/dev/portal/private/apps", "mode=create&name=New+App", "/auth/login", &[]),
        Exchange::form("/dev/auth/password/recover", "email=dev%40acme.test", "/auth/password/new", &[]),
        Exchange::json("POST /dev/portal-api/users", json!({}), user(true), &[]).with_status(500),
        Exchange::json("POST /dev/portal-api/users", json!({}), json!({ "error": "no" }), &[]).with_status(422),
        Exchange::json("PATCH /dev/portal-api/users", json!({}), user(true), &[]),
    ]
}

/// An Envoy before an upstream that answers with the exchanges in their order.
struct Observed {
    envoy: Envoy,
    upstream: StandIn,
    receiver: Server,
}

const PORTAL: [&str; 13] = [
    "UserRegistered",
    "UserAccountActivated",
    "UserAccountDeactivated",
    "PasswordReset",
    "ApplicationRegistered",
    "CredentialRegistered",
    "AccessRequestCreated",
    "AccessRequestApproved",
    "AccessRequestRejected",
    "OrganisationRegistered",
    "OrganisationRequestCreated",
    "OrganisationRequestApproved",
    "OrganisationRequestRejected",
];

impl Observed {
    async fn start(answer: impl Fn(&Seen) -> Answer + Clone + Send + Sync + 'static) -> Result<Self> {
        let (upstream, receiver) = (StandIn::start(answer).await?, Server::start().await?);
        let api = |id: &str, path: &str, preset: &str| {
            json!({ "api_id": id, "org_id": "acme", "listen_path": path, "use_keyless": true,
                "observe": { "preset": preset } })
        };
        let hears = json!({ "webhook": "http://RECEIVER/event" });
        let events = ["api_event", "key_event", "hashed_key_event", "key_request_event", "portal_password_reset_event"];
        let options: serde_json::Map<_, _> =
            events.map(|event| (event.to_owned(), hears.clone())).into_iter().collect();
        let config = json!({
            "apis": [
                api("gw", "/gw/", "tyk-gateway"),
                api("db", "/db/", "tyk-dashboard"),
                api("dev", "/dev/", "tyk-portal"),
            ],
            "orgs": { "acme": { "event_options": options }, ORG: { "event_options": options } },
            "webhooks": [{ "name": "portal", "target_url": "http://RECEIVER/event", "events": PORTAL }],
        });
        let envoy = Setup::config(&config, upstream.port, receiver.port)?.start().await?;
        Ok(Observed { envoy, upstream, receiver })
    }

    /// Name and payload of so many messages, in no order.
    async fn messages(&self, count: usize) -> Result<Vec<(String, Value)>> {
        let mut messages = Vec::new();
        for received in self.receiver.expect(count, SOON).await? {
            let mut message = received.json()?;
            let members: Vec<String> = message.as_object().context("an object")?.keys().cloned().collect();
            let (name, payload) = if members == ["Event", "Message", "Timestamp"] {
                let time = message["Timestamp"].as_str().context("a time")?;
                ensure!(time.len() >= 20 && time.ends_with('Z') && time.as_bytes()[10] == b'T', "{time}");
                ("Event", "Message")
            } else {
                assert_eq!(members, ["data", "event"]);
                ("event", "data")
            };
            messages.push((message[name].as_str().context("a name")?.to_owned(), message[payload].take()));
        }
        Ok(messages)
    }
}

fn sorted(mut messages: Vec<(String, Value)>) -> Vec<(String, Value)> {
    messages.sort_by_key(|(name, payload)| format!("{name} {payload}"));
    messages
}

/// Lets all of them happen, and compares what is told of them.
async fn drive(exchanges: Vec<Exchange>) -> Result<()> {
    let _shared = shared().await;
    let exchanges = Arc::new(exchanges);
    let script = Arc::clone(&exchanges);
    let observed = Observed::start(move |seen| {
        let place: usize = seen.header("x-place").expect("a place").parse().expect("a number");
        let Exchange { status, response, location, .. } = &script[place];
        let mut headers = vec![("content-type", response.0.to_owned())];
        headers.extend((!location.is_empty()).then(|| ("location", (*location).to_owned())));
        Answer { status: *status, headers, body: Parts::whole(response.1.clone()) }
    })
    .await?;
    for (place, exchange) in exchanges.iter().enumerate() {
        let place = place.to_string();
        let mut headers = vec![("x-place", place.as_str())];
        headers.extend((!exchange.request.0.is_empty()).then_some(("content-type", exchange.request.0)));
        let body = Parts::whole(exchange.request.1.clone());
        let answer = send(observed.envoy.port, exchange.method, &exchange.target, &headers, body).await?;
        assert_eq!(
            (answer.status, &answer.body[..]),
            (exchange.status, &exchange.response.1[..]),
            "{}",
            exchange.target
        );
        let arrived = observed.upstream.seen().pop().context("nothing arrived")?;
        assert_eq!((arrived.target.as_str(), &arrived.body[..]), (exchange.target.as_str(), &exchange.request.1[..]));
    }
    let expected: Vec<(String, Value)> =
        exchanges.iter().flat_map(|e| &e.expected).map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    let told = sorted(observed.messages(expected.len()).await?);
    let secrets = format!("{told:?}");
    assert_eq!(told, sorted(expected));
    assert!(!secrets.contains("hunter2") && !secrets.contains(RAW_KEY));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_of_the_gateway_become_events() -> Result<()> {
    drive(gateway()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_of_the_dashboard_become_events() -> Result<()> {
    drive(dashboard()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_of_the_portal_become_events() -> Result<()> {
    drive(portal()).await
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).and_then(|()| encoder.finish()).expect("memory")
}

/// One body of a length that is said, in pieces, compressed, both, of another coding, over the limit, and over it only
/// when it is decompressed; in either direction.
#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_read_as_they_are_encoded_and_pass_unchanged() -> Result<()> {
    const OVER: usize = 300 * 1024;
    let _shared = shared().await;
    let observed = Observed::start(|seen| {
        // It answers with what its request's last header says, in the request's manner.
        let is_chunked = seen.header("x-chunked").is_some();
        let size: usize = seen.header("x-fill").and_then(|text| text.parse().ok()).unwrap_or_default();
        let mut headers = vec![("content-type", JSON.to_owned())];
        let body = response(seen.header("x-name").unwrap_or_default(), size);
        let body = match seen.header("content-encoding") {
            Some(coding) => {
                headers.push(("content-encoding", coding.to_owned()));
                gzip(&body)
            }
            None => body,
        };
        Answer {
            status: 200,
            headers,
            body: if is_chunked { Parts::in_pieces_of(7, body) } else { Parts::whole(body) },
        }
    })
    .await?;
    let mut expected = Vec::new();
    for (name, coding, is_chunked, fill, is_read) in [
        ("plain", "", false, 0, true),
        ("chunked", "", true, 0, true),
        ("gzip", "gzip", false, 0, true),
        ("gzip-chunked", "gzip", true, 0, true),
        ("brotli", "br", false, 0, false),
        ("large", "", false, OVER, false),
        ("large-chunked", "", true, OVER, false),
        ("bomb", "gzip", false, OVER, false),
    ] {
        let plain = request(fill);
        // What is said to be Brotli is none; nobody here can tell.
        let sent = if coding.is_empty() { plain } else { gzip(&plain) };
        let fill = fill.to_string();
        let mut headers = vec![("content-type", JSON), ("x-name", name), ("x-fill", &fill)];
        headers.extend((!coding.is_empty()).then_some(("content-encoding", coding)));
        headers.extend(is_chunked.then_some(("x-chunked", "yes")));
        let parts = if is_chunked { Parts::in_pieces_of(5, sent.clone()) } else { Parts::whole(sent.clone()) };
        let answer = send(observed.envoy.port, "POST", "/dev/portal-api/users", &headers, parts).await?;
        let arrived = observed.upstream.seen().pop().context("nothing arrived")?;
        ensure!(arrived.body == sent, "{name}: the request came changed");
        assert_eq!(arrived.header("content-length").is_none(), is_chunked, "{name}");
        let came = response(name, fill.parse()?);
        ensure!(answer.body == if coding.is_empty() { came } else { gzip(&came) }, "{name}: the answer came changed");
        assert_eq!(answer.header("content-length").is_none(), is_chunked, "{name}");
        if is_read {
            expected.push(("UserRegistered".to_owned(), json!({ "ID": 1, "First": name })));
        }
        // The request's side.
        let parts = if is_chunked { Parts::in_pieces_of(5, sent.clone()) } else { Parts::whole(sent) };
        headers.retain(|(name, _)| *name != "x-fill");
        headers.push(("x-fill", "0"));
        let answer = send(observed.envoy.port, "PUT", "/dev/portal-api/users/1", &headers, parts).await?;
        assert_eq!(answer.status, 200);
        if is_read {
            expected.push(("UserAccountActivated".to_owned(), json!({ "ID": 1, "First": name, "Status": "active" })));
        }
    }
    // The registration's answer says that the user is active, too.
    for (name, payload) in &mut expected {
        if name == "UserRegistered" {
            payload["Status"] = json!("active");
        }
    }
    assert_eq!(sorted(observed.messages(expected.len()).await?), sorted(expected));
    let log = observed.envoy.log();
    for reason in ["compressed with br", "larger than 262144 bytes", "larger than 262144 bytes, decompressed"] {
        assert!(log.contains(&format!("is not readable: {reason}\n")), "{reason}");
    }
    Ok(())
}

/// Only who is switched, and nothing else, is an event: what fills it up is blank.
fn request(fill: usize) -> Vec<u8> {
    format!("{{\"ID\": 1, {}\"Active\": true}}", " ".repeat(fill)).into_bytes()
}

fn response(name: &str, fill: usize) -> Vec<u8> {
    json!({ "ID": 1, "First": name, "Active": true, "Fill": "x".repeat(fill) }).to_string().into_bytes()
}
