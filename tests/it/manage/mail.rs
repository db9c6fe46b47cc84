mod told;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tollbell_tests::client::{get_with_key, send};

use super::stand_in::{Answer, Seen, StandIn};
use super::{BEARER, admin, hex, sha256, world};
use crate::support::{World, eventually};

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

/// A provider that refuses whatever its documentation does not show, and else answers as it is told.
struct Provider {
    stand_in: StandIn,
    script: Arc<Mutex<VecDeque<Answer>>>,
    complaints: Arc<Mutex<Vec<String>>>,
}

impl Provider {
    async fn start(code: &'static str) -> Result<Self> {
        let (script, complaints) = (Arc::new(Mutex::new(VecDeque::new())), Arc::new(Mutex::new(Vec::new())));
        let (answers, refused) = (Arc::clone(&script), Arc::clone(&complaints));
        let stand_in = StandIn::start(move |seen| match check(code, seen) {
            Ok(()) => answers.lock().expect("no panic").pop_front().unwrap_or_else(|| taken(code)),
            Err(error) => {
                refused.lock().expect("no panic").push(format!("{error:#}: {seen:?}"));
                Answer::json(400, json!({ "message": "no" }))
            }
        })
        .await?;
        Ok(Provider { stand_in, script, complaints })
    }

    fn complaints(&self) -> Vec<String> {
        self.complaints.lock().expect("no panic").clone()
    }
}

/// How an email is taken.
fn taken(code: &str) -> Answer {
    match code {
        "mandrill" => {
            Answer::json(200, json!([{ "email": "e", "status": "queued", "_id": "i", "reject_reason": null }]))
        }
        "sendgrid" => Answer::json(202, ""),
        "mailgun" => Answer::json(200, json!({ "id": "<i@mg.acme.test>", "message": "Queued. Thank you." })),
        _ => Answer::json(200, json!({ "MessageId": "i" })),
    }
}

fn settings(code: &str, port: u16) -> Value {
    let endpoint = format!("http://127.0.0.1:{port}");
    match code {
        "mailgun" => json!({ "Domain": "mg.acme.test", "PrivateKey": "key-SECRET", "Endpoint": endpoint }),
        "amazonses" => json!({ "Endpoint": endpoint, "Region": "eu-west-1", "AccessKeyId": "AKIDEXAMPLE",
            "SecretAccessKey": SECRET }),
        _ => json!({ "ClientKey": "SG.SECRET_key-1", "Endpoint": endpoint }),
    }
}

/// The names of an object's members: all that are required, and none that is not known.
fn members(value: &Value, required: &[&str], optional: &[&str]) -> Result<()> {
    let members = value.as_object().with_context(|| format!("{value} is no object"))?;
    for name in required {
        ensure!(members.contains_key(*name), "{name} is missing in {value}");
    }
    for name in members.keys() {
        ensure!(required.contains(&name.as_str()) || optional.contains(&name.as_str()), "{name} is unknown");
    }
    Ok(())
}

fn text<'v>(value: &'v Value, pointer: &str) -> Result<&'v str> {
    let text = value.pointer(pointer).and_then(Value::as_str).with_context(|| format!("no text at {pointer}"))?;
    ensure!(!text.is_empty(), "nothing at {pointer}");
    Ok(text)
}

/// A text of one line, as subjects and names are.
fn line<'v>(value: &'v Value, pointer: &str) -> Result<&'v str> {
    let text = text(value, pointer)?;
    ensure!(!text.contains(char::is_control), "{text:?} at {pointer} is more than a line");
    Ok(text)
}

fn address(value: &Value, pointer: &str) -> Result<()> {
    let text = text(value, pointer)?;
    ensure!(text.contains('@') && !text.contains([' ', '<', '>', '\r', '\n']), "{text:?} is no address");
    Ok(())
}

/// One header of that name and value.
fn header(seen: &Seen, name: &str, value: &str) -> Result<()> {
    let values: Vec<&str> =
        seen.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect();
    ensure!(values == [value], "{name} is {values:?}");
    Ok(())
}

/// What the providers' documentation demands.
fn check(code: &str, seen: &Seen) -> Result<()> {
    let path = match code {
        "mandrill" => "/api/1.0/messages/send.json",
        "sendgrid" => "/v3/mail/send",
        "mailgun" => "/v3/mg.acme.test/messages",
        _ => "/v2/email/outbound-emails",
    };
    ensure!((seen.method.as_str(), seen.target.as_str()) == ("POST", path), "{} {}", seen.method, seen.target);
    if code == "mailgun" {
        // The Base64 of "api:key-SECRET".
        header(seen, "authorization", "Basic YXBpOmtleS1TRUNSRVQ=")?;
        return check_form(seen);
    }
    header(seen, "content-type", "application/json")?;
    let body: Value = serde_json::from_slice(&seen.body)?;
    match code {
        "mandrill" => {
            members(&body, &["key", "message"], &[])?;
            ensure!(body["key"] == "SG.SECRET_key-1" && seen.header("authorization").is_none(), "the key");
            let message = &body["message"];
            members(message, &["from_email", "to", "subject"], &["from_name", "text", "html"])?;
            address(message, "/from_email")?;
            line(message, "/subject")?;
            line(message, "/from_name")?;
            text(message, "/text")?;
            ensure!(message["to"].as_array().is_some_and(|to| to.len() == 1), "one recipient");
            members(&message["to"][0], &["email", "type"], &["name"])?;
            ensure!(message["to"][0]["type"] == "to", "its type");
            line(&json!({ "name": message["to"][0].get("name").unwrap_or(&json!("none")) }), "/name")?;
            address(message, "/to/0/email")
        }
        "sendgrid" => {
            header(seen, "authorization", "Bearer SG.SECRET_key-1")?;
            members(&body, &["personalizations", "from", "subject", "content"], &[])?;
            members(&body["from"], &["email"], &["name"])?;
            address(&body, "/from/email")?;
            line(&body, "/subject")?;
            line(&body, "/from/name")?;
            members(&body["personalizations"][0], &["to"], &[])?;
            members(&body["personalizations"][0]["to"][0], &["email"], &["name"])?;
            let to = &body["personalizations"][0]["to"][0];
            line(&json!({ "name": to.get("name").unwrap_or(&json!("none")) }), "/name")?;
            address(&body, "/personalizations/0/to/0/email")?;
            let content = body["content"].as_array().context("a list")?;
            let types: Vec<&str> = content.iter().filter_map(|part| part["type"].as_str()).collect();
            ensure!(types == ["text/plain", "text/html"], "{types:?}");
            content.iter().try_for_each(|part| members(part, &["type", "value"], &[]))
        }
        _ => {
            check_signature(seen)?;
            members(&body, &["FromEmailAddress", "Destination", "Content"], &[])?;
            members(&body["Destination"], &["ToAddresses"], &[])?;
            line(&body, "/Destination/ToAddresses/0")?;
            line(&body, "/FromEmailAddress")?;
            line(&body, "/Content/Simple/Subject/Data")?;
            members(&body["Content"], &["Simple"], &[])?;
            let simple = &body["Content"]["Simple"];
            members(simple, &["Subject", "Body"], &[])?;
            members(&simple["Body"], &["Text"], &["Html"])?;
            for part in [&simple["Subject"], &simple["Body"]["Text"], &simple["Body"]["Html"]] {
                members(part, &["Data", "Charset"], &[])?;
                ensure!(part["Charset"] == "UTF-8" && !text(part, "/Data")?.is_empty(), "{part}");
            }
            Ok(())
        }
    }
}

fn check_form(seen: &Seen) -> Result<()> {
    let kind = seen.header("content-type").unwrap_or_default();
    let boundary = kind.strip_prefix("multipart/form-data; boundary=").context("no form")?;
    let body = str::from_utf8(&seen.body)?;
    let inner = body.strip_prefix(&format!("--{boundary}\r\n")).context("no beginning")?;
    let inner = inner.strip_suffix(&format!("\r\n--{boundary}--\r\n")).context("no end")?;
    let mut names = Vec::new();
    for part in inner.split(&format!("\r\n--{boundary}\r\n")) {
        let (head, value) = part.split_once("\r\n\r\n").context("no head")?;
        let name = head.split_once("name=\"").and_then(|(_, rest)| rest.split_once('"')).context("no name")?.0;
        ensure!(
            head.to_ascii_lowercase().starts_with("content-disposition: form-data;") && !value.is_empty(),
            "{head}"
        );
        ensure!(value.contains('@') || !["from", "to"].contains(&name), "{name} is {value:?}");
        ensure!(["text", "html"].contains(&name) || !value.contains(['\r', '\n']), "{name} is {value:?}");
        names.push(name.to_owned());
    }
    ensure!(names == ["from", "to", "subject", "text", "html"], "{names:?}");
    Ok(())
}

/// HMAC of RFC 2104 with SHA-256.
fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    const BLOCK: usize = 64;
    let key = if key.len() > BLOCK { Sha256::digest(key).to_vec() } else { key.to_vec() };
    let padded = |pad: u8| (0..BLOCK).map(|n| key.get(n).unwrap_or(&0) ^ pad).collect::<Vec<u8>>();
    let inner = Sha256::digest([padded(0x36).as_slice(), message].concat());
    Sha256::digest([padded(0x5c).as_slice(), inner.as_slice()].concat()).to_vec()
}

/// AWS Signature Version 4, step by step as it is documented.
fn check_signature(seen: &Seen) -> Result<()> {
    let value = |name: &str| seen.header(name).with_context(|| format!("no {name}"));
    let stamp = value("x-amz-date")?;
    let day = stamp.split_once('T').context("no time")?.0;
    ensure!(stamp.len() == 16 && stamp.ends_with('Z') && day.len() == 8, "{stamp}");
    let scope = format!("{day}/eu-west-1/ses/aws4_request");
    let signed = "content-type;host;x-amz-date";
    let canonical = format!(
        "POST\n{}\n\ncontent-type:{}\nhost:{}\nx-amz-date:{stamp}\n\n{signed}\n{}",
        seen.target,
        value("content-type")?,
        value("host")?,
        sha256(&seen.body)
    );
    let to_sign = format!("AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{}", sha256(canonical));
    let key = [day, "eu-west-1", "ses", "aws4_request"]
        .iter()
        .fold(format!("AWS4{SECRET}").into_bytes(), |key, part| hmac(&key, part.as_bytes()));
    let signature = hex(&hmac(&key, to_sign.as_bytes()));
    let expected =
        format!("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/{scope}, SignedHeaders={signed}, Signature={signature}");
    header(seen, "authorization", &expected)
}

#[test]
fn the_second_implementation_of_signatures_is_right() {
    // RFC 4231, test case 2; and with a long key, test case 6.
    let mac = hmac(b"Jefe", b"what do ya want for nothing?");
    assert_eq!(hex(&mac), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    let mac = hmac(&[0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First");
    assert_eq!(hex(&mac), "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

fn config(code: &str, port: u16) -> Value {
    json!({
        "apis": [{ "api_id": "orders", "org_id": "acme" }],
        "keys": {},
        "orgs": { "acme": { "event_options": { "key_event": { "email": "ops@acme.test" } } } },
        "email_backend": { "enable_email_notifications": true, "code": code, "settings": settings(code, port),
            "default_from_email": "no-reply@acme.test", "default_from_name": "Acme APIs" },
        "delivery": { "base_delay_ms": 50, "max_attempts": 3 },
        "admin": admin(),
    })
}

/// What has become of emails: delivered, failed, tried again.
async fn counts(world: &World) -> Result<[u64; 3]> {
    let metric = async |name: &str| world.envoy.metric(&format!("tollbell_{name}{{}}")).await;
    Ok([metric("delivered").await?, metric("failed").await?, metric("retried").await?])
}

/// An email that is told is answered so, one after the other; at the end it is taken, or not.
async fn emails(code: &'static str, cases: Vec<(&str, Answer, bool)>) -> Result<()> {
    let provider = Provider::start(code).await?;
    let world = world(&config(code, provider.stand_in.port)).await?;
    let (mut delivered, mut failed, mut retried, mut requests) = (0, 0, 0, 0);
    for (case, answer, is_final) in cases.into_iter().map(Some).chain([None]).map(|case| match case {
        Some((case, answer, is_final)) => (case, Some(answer), is_final),
        None => ("taken", None, false),
    }) {
        let is_taken = answer.is_none();
        provider.script.lock().expect("no panic").extend(answer);
        let event = json!({ "event": "key_event.add", "org_id": "acme", "data": { "id": case } }).to_string();
        let headers = [("authorization", BEARER)];
        let reply = send(world.envoy.port, "POST", "/.tollbell/events", &headers, event.into_bytes()).await?;
        assert_eq!(reply.status, 202, "{}", reply.body);
        match (is_final, is_taken) {
            (true, _) => failed += 1,
            // The answer after it is a good one.
            (false, false) => (delivered, retried, requests) = (delivered + 1, retried + 1, requests + 1),
            (false, true) => delivered += 1,
        }
        requests += 1;
        eventually(case, async || {
            let [is_delivered, has_failed, _] = counts(&world).await?;
            Ok(is_delivered + has_failed >= delivered + failed)
        })
        .await?;
        assert_eq!(provider.complaints(), Vec::<String>::new(), "{code} {case}");
        // The proxy refuses the first of all callouts to a name that it does not know yet, which is a retry too.
        let [is_delivered, has_failed, was_retried] = counts(&world).await?;
        assert_eq!([is_delivered, has_failed], [delivered, failed], "{code} {case}");
        assert!((retried..=retried + 1).contains(&was_retried), "{code} {case}: {was_retried} of {retried}");
        assert_eq!(provider.stand_in.seen().len(), requests, "{code} {case}");
    }
    let log = world.envoy.log();
    for secret in ["SECRET", SECRET, "hunter2", "ops@acme.test"] {
        ensure!(!log.contains(secret), "{secret} is in the log");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn mandrill_takes_emails_and_says_why_not() -> Result<()> {
    let error = |name: &str| json!({ "status": "error", "code": -1, "name": name, "message": "hunter2" });
    let result =
        |status: &str, why: Value| json!([{ "email": "e", "status": status, "reject_reason": why, "_id": "i" }]);
    emails(
        "mandrill",
        vec![
            ("rejected", Answer::json(200, result("rejected", json!("hard-bounce"))), true),
            ("invalid", Answer::json(200, result("invalid", json!(null))), true),
            ("invalid key", Answer::json(500, error("Invalid_Key")), true),
            ("throttled", Answer::json(500, error("RateLimitExceeded")), false),
            ("server error", Answer::json(500, error("GeneralError")), false),
            ("unavailable", Answer::json(503, ""), false),
        ],
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn sendgrid_takes_emails_and_says_why_not() -> Result<()> {
    let errors = || json!({ "errors": [{ "message": "hunter2", "field": null, "help": null }] });
    emails(
        "sendgrid",
        vec![
            ("rejected", Answer::json(400, errors()), true),
            ("invalid key", Answer::json(401, errors()), true),
            ("sender not allowed", Answer::json(403, errors()), true),
            ("throttled", Answer::json(429, errors()), false),
            ("server error", Answer::json(500, errors()), false),
            ("not as documented", Answer::json(200, json!({})), false),
        ],
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn mailgun_takes_emails_and_says_why_not() -> Result<()> {
    let says = || json!({ "message": "hunter2" });
    emails(
        "mailgun",
        vec![
            ("rejected", Answer::json(400, says()), true),
            ("invalid key", Answer::json(401, "Forbidden"), true),
            ("no such domain", Answer::json(404, says()), true),
            ("throttled", Answer::json(429, says()), false),
            ("server error", Answer::json(500, says()), false),
        ],
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn amazon_ses_takes_signed_emails_and_says_why_not() -> Result<()> {
    let error = |status: u16, kind: &str, message: &str| {
        let mut answer = Answer::json(status, json!({ "message": message }));
        answer.headers.push(("x-amzn-errortype", format!("{kind}:http://internal.amazon.com/")));
        answer
    };
    emails(
        "amazonses",
        vec![
            ("rejected", error(400, "MessageRejected", "hunter2"), true),
            ("invalid key", error(403, "UnrecognizedClientException", "hunter2"), true),
            ("wrong secret", error(403, "InvalidSignatureException", "The request signature does not match"), true),
            ("clock", error(403, "InvalidSignatureException", "Signature expired: hunter2"), false),
            ("throttled", error(429, "TooManyRequestsException", "hunter2"), false),
            ("server error", Answer::json(500, ""), false),
            ("not as documented", Answer::json(200, json!({})), false),
        ],
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn developers_hear_of_their_quota_whatever_their_key_is_called() -> Result<()> {
    const ALIAS: &str = "<script>alert(1)</script>\r\nBcc: evil@evil.test, \"x\" & Söhne";
    for code in ["mandrill", "sendgrid", "mailgun", "amazonses"] {
        let provider = Provider::start(code).await?;
        let mut config = config(code, provider.stand_in.port);
        let key = |email: &str| {
            json!({ "org_id": "acme", "alias": ALIAS, "quota_max": 4, "quota_renewal_rate": 3600,
                "monitor": { "trigger_limits": [50] }, "meta_data": { "email": email } })
        };
        config["keys"] =
            json!({ "secret-key": key("dev@acme.test"), "bad-address": key("dev@acme.test\r\nBcc: evil@evil.test") });
        config["email_backend"]["notify_users"] = json!(true);
        config["monitor"] = json!({ "enable_trigger_monitors": true, "monitor_user_keys": true });
        let world = world(&config).await?;
        for key in ["secret-key", "bad-address"] {
            for _ in 0..3 {
                assert_eq!(get_with_key(world.envoy.port, "/", key).await?.status, 200);
            }
        }
        eventually("an email", async || Ok(counts(&world).await?[0] == 1)).await?;
        assert_eq!(provider.complaints(), Vec::<String>::new(), "{code}");
        let [_, failed, _] = counts(&world).await?;
        assert_eq!(failed, 1, "{code}: an address with a line break is none");
        let seen = provider.stand_in.seen();
        let [email] = &seen[..] else { bail!("{code}: {seen:?}") };
        let text = String::from_utf8_lossy(&email.body);
        assert!(text.contains("dev@acme.test") && !text.contains("secret-key"), "{code}: {text}");
        let html = match (code, serde_json::from_slice::<Value>(&email.body)) {
            ("mandrill", Ok(body)) => body["message"]["html"].as_str().map(str::to_owned),
            ("sendgrid", Ok(body)) => body["content"][1]["value"].as_str().map(str::to_owned),
            ("amazonses", Ok(body)) => {
                body.pointer("/Content/Simple/Body/Html/Data").and_then(Value::as_str).map(str::to_owned)
            }
            _ => text.split_once("name=\"html\"").map(|(_, html)| html.to_owned()),
        };
        let html = html.context("no HTML")?;
        assert!(html.contains("&lt;script&gt;") && !html.contains("<script>"), "{code}: {html}");
    }
    Ok(())
}
