//! Compares requests with each provider's documentation, field by field.

use proptest::prelude::*;
use serde_json::{Value, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::testing::{config, email, load, mailbox, settings};
use super::*;
use crate::base::{Name, UnixMillis};

const NOW: UnixMillis = UnixMillis(1_792_570_530_250);

fn account(code: &str) -> Account {
    load(&config(code, settings(code))).backend.account
}

thread_local! {
    static ACCOUNTS: Vec<Account> = Provider::ALL.iter().map(|provider| account(provider.code())).collect();
}

fn request(code: &str, email: &EmailMessage) -> MailRequest {
    ACCOUNTS.with(|all| all.iter().find(|account| account.provider().code() == code).unwrap().request(email))
}

fn json_of(request: &MailRequest) -> Value {
    assert_eq!(header(&request.headers, "content-type"), "application/json");
    serde_json::from_str(&request.body).unwrap()
}

fn header<'h>(headers: &'h [(String, String)], name: &str) -> &'h str {
    let found: Vec<&str> = headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect();
    assert_eq!(found.len(), 1, "{name}");
    found[0]
}

/// An email without names and HTML.
fn plain() -> EmailMessage {
    EmailMessage { to: mailbox("", "dev@acme.test"), from: mailbox("", "no-reply@acme.test"), html: None, ..email() }
}

/// The fields of a multipart form, parsed by the rules of RFC 7578 and RFC 2046.
fn form(request: &MailRequest) -> Vec<(String, String)> {
    let boundary = header(&request.headers, "content-type").strip_prefix("multipart/form-data; boundary=").unwrap();
    assert!((1..=70).contains(&boundary.len()) && boundary.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'));
    let inner = request.body.strip_prefix(&format!("--{boundary}\r\n")).unwrap();
    let inner = inner.strip_suffix(&format!("\r\n--{boundary}--\r\n")).unwrap();
    let field = |part: &str| {
        let (head, value) = part.split_once("\r\n\r\n").unwrap();
        let mut lines = head.split("\r\n");
        let name = lines.next().unwrap().strip_prefix("content-disposition: form-data; name=\"").unwrap();
        assert_eq!(lines.collect::<Vec<_>>(), ["content-type: text/plain; charset=utf-8"]);
        (name.strip_suffix('"').unwrap().to_owned(), value.to_owned())
    };
    inner.split(&format!("\r\n--{boundary}\r\n")).map(field).collect()
}

#[test]
fn every_request_is_a_post_with_lower_case_headers_and_no_second_authorization() {
    for provider in Provider::ALL {
        let request = request(provider.code(), &email());
        let headers = request.request_headers();
        assert_eq!(header(&headers, ":method"), "POST");
        assert_eq!(header(&headers, ":scheme"), "https");
        assert_eq!(header(&headers, ":authority"), request.target.authority);
        assert_eq!(header(&headers, ":path"), request.target.path_and_query);
        assert_eq!(header(&headers, "accept"), "application/json");
        assert!(header(&headers, "user-agent").starts_with("tollbell/"));
        for (name, value) in &request.headers {
            assert_eq!(http::HeaderName::from_lowercase(name.as_bytes()).unwrap().as_str(), name);
            assert!(http::HeaderValue::from_str(value).is_ok());
        }
        assert!(headers.iter().filter(|(name, _)| name == "authorization").count() <= 1);
    }
}

#[test]
fn mandrill_gets_the_key_and_the_message() {
    let request = request("mandrill", &email());
    assert_eq!(request.target.path_and_query, "/api/1.0/messages/send.json");
    assert_eq!(
        json_of(&request),
        json!({
            "key": "SG.SECRET_key-1",
            "message": {
                "from_email": "no-reply@acme.test",
                "from_name": "Acme APIs",
                "to": [{ "email": "dev@acme.test", "name": "Jörg <x>, \"dev\"", "type": "to" }],
                "subject": "Schlüssel \"é\" <b>",
                "text": "Grüße\n--tollbell\r\n\"a\" <b>\n",
                "html": "<p>Grüße &lt;b&gt;</p>\n"
            }
        })
    );
    let bare = json_of(&super::tests::request("mandrill", &plain()));
    assert_eq!(
        bare["message"].as_object().unwrap().keys().collect::<Vec<_>>(),
        ["from_email", "subject", "text", "to"]
    );
    assert_eq!(bare["message"]["to"], json!([{ "email": "dev@acme.test", "type": "to" }]));
}

#[test]
fn sendgrid_gets_text_before_html() {
    let request = request("sendgrid", &email());
    assert_eq!(header(&request.headers, "authorization"), "Bearer SG.SECRET_key-1");
    assert_eq!(
        json_of(&request),
        json!({
            "personalizations": [{ "to": [{ "email": "dev@acme.test", "name": "Jörg <x> \"dev\"" }] }],
            "from": { "email": "no-reply@acme.test", "name": "Acme APIs" },
            "subject": "Schlüssel \"é\" <b>",
            "content": [
                { "type": "text/plain", "value": "Grüße\n--tollbell\r\n\"a\" <b>\n" },
                { "type": "text/html", "value": "<p>Grüße &lt;b&gt;</p>\n" }
            ]
        })
    );
    let mut comma = plain();
    comma.to = mailbox(",;", "dev@acme.test");
    let bare = json_of(&super::tests::request("sendgrid", &comma));
    assert_eq!(bare["personalizations"], json!([{ "to": [{ "email": "dev@acme.test" }] }]));
    assert_eq!(bare["content"].as_array().unwrap().len(), 1);
    assert_eq!(bare["content"][0]["type"], "text/plain");
}

#[test]
fn mailgun_gets_a_form() {
    let request = request("mailgun", &email());
    assert_eq!(request.target.path_and_query, "/v3/mg.acme.test/messages");
    assert_eq!(header(&request.headers, "authorization"), "Basic YXBpOmtleS1TRUNSRVQ=");
    let fields = form(&request);
    let expected = [
        ("from", "\"Acme APIs\" <no-reply@acme.test>"),
        ("to", "=?UTF-8?B?SsO2cmcgPHg+LCAiZGV2Ig==?= <dev@acme.test>"),
        ("subject", "Schlüssel \"é\" <b>"),
        ("text", "Grüße\n--tollbell\r\n\"a\" <b>\n"),
        ("html", "<p>Grüße &lt;b&gt;</p>\n"),
    ];
    assert_eq!(fields, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let names: Vec<String> =
        form(&super::tests::request("mailgun", &plain())).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["from", "to", "subject", "text"]);
}

#[test]
fn ses_gets_content_with_its_charset() {
    let request = request("amazonses", &email());
    let charset = "UTF-8";
    assert_eq!(
        json_of(&request),
        json!({
            "FromEmailAddress": "\"Acme APIs\" <no-reply@acme.test>",
            "Destination": { "ToAddresses": ["=?UTF-8?B?SsO2cmcgPHg+LCAiZGV2Ig==?= <dev@acme.test>"] },
            "Content": { "Simple": {
                "Subject": { "Data": "Schlüssel \"é\" <b>", "Charset": charset },
                "Body": {
                    "Text": { "Data": "Grüße\n--tollbell\r\n\"a\" <b>\n", "Charset": charset },
                    "Html": { "Data": "<p>Grüße &lt;b&gt;</p>\n", "Charset": charset }
                }
            } }
        })
    );
    let mut other = settings("amazonses");
    other["CharSet"] = json!("ISO-8859-1");
    let other = load(&config("amazonses", other)).backend.account.request(&plain());
    let content = &json_of(&other)["Content"]["Simple"];
    assert_eq!(content["Body"], json!({ "Text": { "Data": plain().text.as_str(), "Charset": "ISO-8859-1" } }));
    assert_eq!(content["Subject"]["Charset"], "ISO-8859-1");
}

#[test]
fn ses_is_signed_at_each_attempt_by_any_vm() {
    let account = account("amazonses");
    let request = account.request(&email());
    let headers = request.request_headers();
    assert!(!headers.iter().any(|(name, _)| name == "authorization" || name == "x-amz-date"));
    // The form in which the outbox holds it.
    let held = postcard::to_allocvec(&(&account, email())).unwrap();
    let (account, email): (Account, EmailMessage) = postcard::from_bytes(&held).unwrap();
    assert_eq!(account.request(&email), request);
    let sign = |now| account.sign(&headers, request.body.as_bytes(), now);
    let first = sign(NOW);
    assert_eq!(first, sign(NOW));
    assert_eq!(header(&first, "x-amz-date"), "20261021T081530Z");
    let authorization = header(&first, "authorization");
    let scope = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261021/eu-west-1/ses/aws4_request, \
                 SignedHeaders=content-type;host;x-amz-date, Signature=";
    assert_eq!(authorization.strip_prefix(scope).unwrap().len(), 64);
    let later = sign(NOW.plus(3_600_000));
    assert_eq!(header(&later, "x-amz-date"), "20261021T091530Z");
    assert_ne!(header(&later, "authorization"), authorization);
    // The body and the host are signed; a header that a proxy adds is not.
    assert_ne!(header(&account.sign(&headers, b"{}", NOW), "authorization"), authorization);
    let mut elsewhere = headers.clone();
    elsewhere.iter_mut().find(|(name, _)| name == ":authority").unwrap().1 = "other.test".into();
    assert_ne!(header(&account.sign(&elsewhere, request.body.as_bytes(), NOW), "authorization"), authorization);
    elsewhere = headers.clone();
    elsewhere.push(("x-request-id".into(), "1".into()));
    assert_eq!(account.sign(&elsewhere, request.body.as_bytes(), NOW), first);
    assert_eq!(account.sign(&headers, b"", UnixMillis(u64::MAX)), []);
}

#[test]
fn other_providers_sign_nothing() {
    for code in ["mandrill", "sendgrid", "mailgun"] {
        let account = account(code);
        assert_eq!(account.provider().code(), code);
        assert_eq!(account.sign(&[], b"", NOW), []);
    }
}

#[test]
fn an_email_without_text_has_no_empty_part() {
    let mut email = email();
    email.text = EmailBody::new(String::new());
    assert_eq!(json_of(&request("sendgrid", &email))["content"].as_array().unwrap().len(), 1);
    assert!(json_of(&request("amazonses", &email))["Content"]["Simple"]["Body"].get("Text").is_none());
    assert!(json_of(&request("mandrill", &email))["message"].get("text").is_none());
    assert_eq!(form(&request("mailgun", &email)).last().unwrap().0, "html");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn hostile_values_cannot_break_an_email(text in any::<String>(), name in any::<String>(), line in "[-a\r\n\":;=. ]{0,30}") {
        let subject = EmailSubject::new(&format!("{line}{text}"));
        let hostile = EmailMessage {
            to: Mailbox { name: Name::lossy(&format!("{name}{line}")), ..mailbox("", "dev@acme.test") },
            from: mailbox("Acme", "no-reply@acme.test"),
            subject,
            text: EmailBody::new(format!("a{line}{text}")),
            html: Some(EmailBody::new(format!("{text}{line}b"))),
        };
        let mandrill = json_of(&request("mandrill", &hostile));
        prop_assert_eq!(mandrill["message"]["text"].as_str(), Some(hostile.text.as_str()));
        let ses = json_of(&request("amazonses", &hostile));
        prop_assert_eq!(ses["Content"]["Simple"]["Subject"]["Data"].as_str(), Some(hostile.subject.as_str()));
        prop_assert!(ses["Destination"]["ToAddresses"][0].as_str().unwrap().ends_with("dev@acme.test")
            || ses["Destination"]["ToAddresses"][0].as_str().unwrap().ends_with("<dev@acme.test>"));
        let fields = form(&request("mailgun", &hostile));
        prop_assert_eq!(fields.len(), 5);
        prop_assert_eq!(fields[2].1.as_str(), hostile.subject.as_str());
        prop_assert_eq!(fields[3].1.as_str(), hostile.text.as_str());
        prop_assert!(!fields[1].1.contains(['\r', '\n']));
    }
}
