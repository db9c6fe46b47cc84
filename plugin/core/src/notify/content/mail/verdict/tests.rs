#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use proptest::prelude::*;

use super::*;
use crate::notify::content::mail::Provider::{self, AmazonSes, Mailgun, Mandrill, SendGrid};

const NOW: UnixMillis = UnixMillis(1_792_570_530_250);

fn judge(provider: Provider, status: u16, headers: &[(&str, &str)], body: &str) -> ProviderVerdict {
    let header = |name: &str| headers.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    provider.judge(&ProviderAnswer { status, header: &header, body: body.as_bytes() }, NOW)
}

/// `+` for delivered, `-` for refused, `~` for retry; and the reason.
fn in_short(verdict: &ProviderVerdict) -> (char, String) {
    let sign = match verdict.outcome() {
        DeliveryOutcome::Delivered => '+',
        DeliveryOutcome::Refused(_) => '-',
        DeliveryOutcome::Failed(_) => '~',
        DeliveryOutcome::Gone => '0',
    };
    (sign, verdict.reason().map(|reason| reason.to_string()).unwrap_or_default())
}

fn check(provider: Provider, cases: &[(u16, &str, char, &str)]) {
    for (status, body, sign, reason) in cases {
        let verdict = judge(provider, *status, &[], body);
        assert_eq!(in_short(&verdict), (*sign, (*reason).to_owned()), "{provider:?} {status} {body}");
    }
}

#[test]
fn mandrill() {
    let unexpected = "status 200, not the answer that the provider documents";
    check(
        Mandrill,
        &[
            (200, r#"[{"email":"a@b.test","status":"sent","_id":"1","reject_reason":null}]"#, '+', ""),
            (200, r#"[{"email":"a@b.test","status":"queued","queued_reason":"attachments","_id":"1"}]"#, '+', ""),
            (200, r#"[{"email":"a@b.test","status":"scheduled","_id":"1"}]"#, '+', ""),
            (200, r#"[{"status":"rejected","reject_reason":"hard-bounce"}]"#, '-', "status 200, hard-bounce"),
            (200, r#"[{"status":"rejected","reject_reason":"unsigned"}]"#, '-', "status 200, unsigned"),
            (200, r#"[{"status":"rejected","reject_reason":"md-key"}]"#, '-', "status 200, the recipient is rejected"),
            (200, r#"[{"status":"invalid"}]"#, '-', "status 200, the recipient is invalid"),
            (200, r#"[{"status":"later"}]"#, '~', unexpected),
            (200, "[]", '~', unexpected),
            (200, "{}", '~', unexpected),
            (200, "", '~', unexpected),
            (200, "<html>", '~', unexpected),
            (
                500,
                r#"{"status":"error","code":-1,"name":"Invalid_Key","message":"Invalid API key"}"#,
                '-',
                "status 500, Invalid_Key",
            ),
            (500, r#"{"status":"error","name":"PaymentRequired"}"#, '-', "status 500, PaymentRequired"),
            (500, r#"{"status":"error","name":"Unknown_Subaccount"}"#, '-', "status 500, Unknown_Subaccount"),
            (500, r#"{"status":"error","name":"PoorReputation"}"#, '-', "status 500, PoorReputation"),
            (500, r#"{"status":"error","code":-2,"name":"ValidationError"}"#, '-', "status 500, ValidationError"),
            (401, r#"{"status":"error","name":"Invalid_Key"}"#, '-', "status 401, Invalid_Key"),
            (500, r#"{"status":"error","name":"GeneralError"}"#, '~', "status 500, GeneralError"),
            (400, r#"{"status":"error","name":"GeneralError"}"#, '~', "status 400, GeneralError"),
            (500, r#"{"status":"error","name":"ServiceUnavailable"}"#, '~', "status 500, ServiceUnavailable"),
            (500, r#"{"status":"error","name":"Something_New"}"#, '~', "status 500"),
            (500, r#"[{"status":"sent"}]"#, '~', "status 500"),
            (502, "<html>", '~', "status 502"),
            (404, "", '-', "status 404"),
            (429, "", '~', "status 429, too many requests"),
        ],
    );
}

#[test]
fn sendgrid() {
    let key = "the key is not accepted, or may not send from this address";
    check(
        SendGrid,
        &[
            (202, "", '+', ""),
            (200, "", '~', "status 200, not the answer that the provider documents"),
            (302, "", '~', "status 302, a redirect, which is not followed"),
            (400, r#"{"errors":[{"message":"Does not contain a valid address.","field":"from"}]}"#, '-', "status 400"),
            (401, "", '-', &format!("status 401, {key}")),
            (403, "", '-', &format!("status 403, {key}")),
            (404, "", '-', "status 404"),
            (405, "", '-', "status 405"),
            (406, "", '-', "status 406"),
            (408, "", '~', "status 408"),
            (413, "", '-', "status 413, the email is too large"),
            (425, "", '~', "status 425"),
            (429, "", '~', "status 429, too many requests"),
            (451, "", '-', "status 451"),
            (500, "", '~', "status 500"),
            (503, "", '~', "status 503"),
        ],
    );
}

#[test]
fn mailgun() {
    check(
        Mailgun,
        &[
            (200, r#"{"id":"<1@acme.test>","message":"Queued. Thank you."}"#, '+', ""),
            (201, "", '~', "status 201, not the answer that the provider documents"),
            (400, r#"{"message":"'to' parameter is not a valid address."}"#, '-', "status 400"),
            (401, "Forbidden", '-', "status 401, the key is not accepted, or may not send from this address"),
            (402, "", '-', "status 402, the account must pay, or has reached its limit"),
            (403, "", '-', "status 403, the key is not accepted, or may not send from this address"),
            (404, "", '-', "status 404, no such domain, or it is in the other region"),
            (413, "", '-', "status 413, the email is too large"),
            (429, "", '~', "status 429, too many requests"),
            (500, "", '~', "status 500"),
            (504, "", '~', "status 504"),
        ],
    );
}

#[test]
fn amazon_ses() {
    let clock = "the proxy's clock and that of AWS differ too much";
    check(
        AmazonSes,
        &[
            (200, r#"{"MessageId":"0102"}"#, '+', ""),
            (200, r#"{"MessageId":""}"#, '~', "status 200, not the answer that the provider documents"),
            (200, "", '~', "status 200, not the answer that the provider documents"),
            (
                403,
                r#"{"message":"The security token included in the request is invalid."}"#,
                '-',
                "status 403, the key is not accepted, or may not send from this address",
            ),
            (
                403,
                r#"{"__type":"com.amazon.coral.service#AccessDeniedException"}"#,
                '-',
                "status 403, AccessDeniedException",
            ),
            (
                400,
                r#"{"code":"MessageRejected","message":"Email address is not verified."}"#,
                '-',
                "status 400, MessageRejected",
            ),
            (429, "", '~', "status 429, too many requests"),
            (500, "", '~', "status 500"),
            (503, "", '~', "status 503"),
            (418, "", '-', "status 418"),
        ],
    );
    for (name, kind) in crate::notify::content::mail::ses::SES {
        for status in [400, 403, 404, 429, 500, 503] {
            let typed = format!("{name}:http://internal.amazon.com/coral/com.amazon.coral.service/");
            for value in [name, &typed] {
                let verdict = judge(AmazonSes, status, &[("x-amzn-errortype", value)], "");
                let sign = if kind == Kind::Final { '-' } else { '~' };
                assert_eq!(in_short(&verdict).0, sign, "{name} {status}");
            }
        }
    }
    for name in ["RequestExpired", "RequestTimeTooSkewed"] {
        let verdict = judge(AmazonSes, 403, &[("x-amzn-errortype", name)], "");
        assert_eq!(in_short(&verdict), ('~', format!("status 403, {clock}")));
    }
    for (message, sign) in [
        ("Signature expired: 20150830T123600Z is now earlier than 20150830T124000Z (20150830T124500Z - 5 min.)", '~'),
        ("Signature not yet current: 20150830T130000Z is still later than 20150830T125000Z", '~'),
        ("The request signature we calculated does not match the signature you provided.", '-'),
    ] {
        for name in ["InvalidSignatureException", "SignatureDoesNotMatch"] {
            let body = format!("{{\"message\": \"{message}\"}}");
            let verdict = judge(AmazonSes, 403, &[("x-amzn-errortype", name)], &body);
            assert_eq!(in_short(&verdict).0, sign, "{name} {message}");
        }
    }
}

#[test]
fn providers_ask_for_a_delay() {
    let after = |provider, status, headers: &[(&str, &str)]| match judge(provider, status, headers, "").outcome() {
        DeliveryOutcome::Failed(Failure::Status { status: told, retry_after_ms }) if told == status => retry_after_ms,
        other => panic!("{other:?}"),
    };
    for provider in [Mandrill, SendGrid, Mailgun, AmazonSes] {
        assert_eq!(after(provider, 429, &[("retry-after", "7")]), Some(7000));
        assert_eq!(after(provider, 503, &[("retry-after", "soon")]), None);
        assert_eq!(after(provider, 500, &[]), None);
    }
    assert_eq!(after(SendGrid, 429, &[("x-ratelimit-reset", "1792570560")]), Some(29_750));
    assert_eq!(after(SendGrid, 429, &[("x-ratelimit-reset", "1792570000")]), None);
    assert_eq!(after(SendGrid, 429, &[("x-ratelimit-reset", "x"), ("x-ratelimit-limit", "5")]), None);
    assert_eq!(after(SendGrid, 429, &[("x-ratelimit-reset", "1792570560"), ("retry-after", "1")]), Some(1000));
    assert_eq!(after(SendGrid, 500, &[("x-ratelimit-reset", "1792570560")]), None);
}

#[test]
fn no_reason_repeats_text_of_an_answer() {
    let body = r#"{"name":"md-KEY","status":"error","message":"md-KEY a@b.test","__type":"md-KEY","code":"md-KEY"}"#;
    for provider in [Mandrill, SendGrid, Mailgun, AmazonSes] {
        for status in [200, 202, 302, 400, 401, 403, 404, 429, 500] {
            let shown = format!("{:?}", judge(provider, status, &[("x-amzn-errortype", "md-KEY")], body));
            assert!(!shown.contains("KEY") && !shown.contains("a@b"), "{shown}");
        }
    }
}

proptest! {
    #[test]
    fn no_answer_panics(status in 0_u16..=999, body in any::<Vec<u8>>(), value in any::<String>()) {
        let header = |_: &str| Some(value.clone());
        for provider in [Mandrill, SendGrid, Mailgun, AmazonSes] {
            let verdict = provider.judge(&ProviderAnswer { status, header: &header, body: &body }, NOW);
            prop_assert!(verdict != ProviderVerdict::Delivered || (200..=202).contains(&status));
        }
    }
}
