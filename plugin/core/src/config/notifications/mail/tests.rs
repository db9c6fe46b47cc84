use serde_json::{Value, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::config::Config;
use crate::notify::Provider;
use crate::notify::content::mail::testing::{config, load, settings};

fn errors(config: &Value) -> Vec<String> {
    let Err(errors) = Config::load(config.to_string().as_bytes()) else { panic!("accepted: {config}") };
    errors.iter().map(ToString::to_string).collect()
}

fn with(code: &str, changes: Value) -> Value {
    let mut changed = settings(code);
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => changed.as_object_mut().unwrap().remove(name),
            value => changed.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    config(code, changed)
}

fn url(config: &Value) -> String {
    let mail = load(config);
    let target = mail.backend.target();
    format!("{}://{}{} by {}", target.scheme.as_str(), target.authority, target.path_and_query, target.cluster)
}

#[test]
fn each_provider_has_its_place() {
    let mandrill = "https://mandrillapp.com/api/1.0/messages/send.json by tollbell_https";
    assert_eq!(url(&with("mandrill", json!({}))), mandrill);
    assert_eq!(url(&with("sendgrid", json!({}))), "https://api.sendgrid.com/v3/mail/send by tollbell_https");
    assert_eq!(url(&with("sendgrid", json!({ "Region": "us" }))), url(&with("sendgrid", json!({}))));
    let eu = with("sendgrid", json!({ "Region": "EU" }));
    assert_eq!(url(&eu), "https://api.eu.sendgrid.com/v3/mail/send by tollbell_https");
    let mailgun = "https://api.mailgun.net/v3/mg.acme.test/messages by tollbell_https";
    assert_eq!(url(&with("mailgun", json!({ "PublicKey": null }))), mailgun);
    let eu = with("mailgun", json!({ "Region": "eu" }));
    assert_eq!(url(&eu), "https://api.eu.mailgun.net/v3/mg.acme.test/messages by tollbell_https");
    let ses = "https://email.eu-west-1.amazonaws.com/v2/email/outbound-emails by tollbell_https";
    assert_eq!(url(&with("amazonses", json!({}))), ses);
    let china = with("amazonses", json!({ "Region": "cn-north-1" }));
    assert_eq!(url(&china), "https://email.cn-north-1.amazonaws.com.cn/v2/email/outbound-emails by tollbell_https");
    assert_eq!(url(&config("AmazonSES", settings("amazonses"))), ses);
}

#[test]
fn an_endpoint_comes_before_the_path() {
    for (code, path) in [
        ("mandrill", "/api/1.0/messages/send.json"),
        ("sendgrid", "/v3/mail/send"),
        ("mailgun", "/v3/mg.acme.test/messages"),
        ("amazonses", "/v2/email/outbound-emails"),
    ] {
        for (endpoint, begins, cluster) in [
            ("http://127.0.0.1:9000", "http://127.0.0.1:9000", "tollbell_http"),
            ("http://127.0.0.1:9000/", "http://127.0.0.1:9000", "tollbell_http"),
            ("https://proxy.acme.test/mail/", "https://proxy.acme.test/mail", "tollbell_https"),
            ("proxy.acme.test", "https://proxy.acme.test", "tollbell_https"),
            ("proxy.acme.test:8443", "https://proxy.acme.test:8443", "tollbell_https"),
        ] {
            assert_eq!(url(&with(code, json!({ "Endpoint": endpoint }))), format!("{begins}{path} by {cluster}"));
        }
        for bad in
            ["ftp://x", "https://", "https://u:md-KEY@x.test", "https://x.test?md-KEY", "http://x:md-KEY", "md KEY"]
        {
            let found = errors(&with(code, json!({ "Endpoint": bad })));
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].starts_with("email_backend.settings.Endpoint: "), "{found:?}");
            assert!(!found[0].contains("KEY"), "{found:?}");
        }
    }
}

#[test]
fn clusters_are_chosen_as_for_webhooks() {
    let mut config = with("sendgrid", json!({}));
    config["callouts"] = json!({ "clusters": { "api.sendgrid.com": "mail" } });
    assert_eq!(url(&config), "https://api.sendgrid.com/v3/mail/send by mail");
}

#[test]
fn the_region_of_ses_is_given_or_in_the_endpoint() {
    let region = |changes| {
        let mail = load(&with("amazonses", changes));
        let request = mail.backend.account.request(&crate::notify::content::mail::testing::email());
        let signed = mail.backend.account.sign(&request.request_headers(), b"", crate::base::UnixMillis(0));
        signed[1].1.split('/').nth(2).unwrap().to_owned()
    };
    assert_eq!(region(json!({})), "eu-west-1");
    for host in [
        "email.us-east-1.amazonaws.com",
        "https://email.us-east-1.amazonaws.com",
        "https://email-fips.us-east-1.amazonaws.com/",
        "http://email.us-east-1.api.aws:80",
        "https://vpce-1.email.us-east-1.vpce.amazonaws.com",
    ] {
        assert_eq!(region(json!({ "Region": null, "Endpoint": host })), "us-east-1", "{host}");
    }
    assert_eq!(region(json!({ "Endpoint": "http://localhost:4566" })), "eu-west-1");
    assert_eq!(region(json!({ "Endpoint": "email.eu-west-1.amazonaws.com" })), "eu-west-1");
    let region = "email_backend.settings.Region: ";
    for (changes, message) in [
        (json!({ "Region": null }), "missing: give Region, Endpoint or both"),
        (json!({ "Region": "" }), "missing: give Region, Endpoint or both"),
        (
            json!({ "Region": null, "Endpoint": "http://localhost:4566" }),
            "missing: the host of Endpoint does not contain it, as email.eu-west-1.amazonaws.com does",
        ),
        (
            json!({ "Endpoint": "email.us-east-1.amazonaws.com" }),
            "differs from the region of Endpoint, which is us-east-1",
        ),
        (json!({ "Region": "Ireland" }), "is not a region of AWS such as eu-west-1"),
        (json!({ "Region": "eu-west-1/x" }), "is not a region of AWS such as eu-west-1"),
    ] {
        assert_eq!(errors(&with("amazonses", changes)), [format!("{region}{message}")]);
    }
}

#[test]
fn missing_and_unknown_settings_are_reported() {
    for (code, name) in [
        ("mandrill", "ClientKey"),
        ("sendgrid", "ClientKey"),
        ("mailgun", "Domain"),
        ("mailgun", "PrivateKey"),
        ("amazonses", "AccessKeyId"),
        ("amazonses", "SecretAccessKey"),
    ] {
        let missing = [format!("email_backend.settings.{name}: missing")];
        assert_eq!(errors(&with(code, json!({ name: null }))), missing);
        assert_eq!(errors(&with(code, json!({ name: "" }))), missing);
    }
    assert_eq!(
        errors(&with("mandrill", json!({ "ClientKey": null, "clientkey": "md-SECRET" }))),
        [
            "email_backend.settings.clientkey: mandrill has no such setting (did you mean \"ClientKey\"?); it has \
             ClientKey, Endpoint",
            "email_backend.settings.ClientKey: missing",
        ]
    );
    let both = errors(&with("mailgun", json!({ "Domain": null, "Endpoint": "ftp://x" })));
    assert_eq!(both.len(), 2, "{both:?}");
    let all = errors(&config("amazonses", json!({ "ClientKey": "md-SECRET" })));
    assert_eq!(all.len(), 4, "{all:?}");
    assert_eq!(
        errors(&with("mandrill", json!({ "Region": "eu" }))),
        ["email_backend.settings.Region: mandrill has no such setting; it has ClientKey, Endpoint"]
    );
    assert_eq!(
        errors(&with("mandrill", json!({ "ClientKey": 5 }))),
        [
            "email_backend.settings.ClientKey: expected a string, found a number; quote it",
            "email_backend.settings.ClientKey: missing"
        ]
    );
}

const NO_KEY: &str = "has characters that no key has, such as a space or a line break at its end";

#[test]
fn wrong_settings_are_reported_without_their_values() {
    for (code, name, value, message) in [
        ("mandrill", "ClientKey", "md-SECRET\n", NO_KEY),
        ("sendgrid", "ClientKey", "SG SECRET", NO_KEY),
        ("mailgun", "PrivateKey", "SECRETé", NO_KEY),
        ("mailgun", "Domain", "mg.acme.test/SECRET", "is not a domain such as mg.example.com"),
        ("mailgun", "Region", "SECRET", "is not one of us, eu"),
        ("amazonses", "AccessKeyId", "wJal/SECRET", "is not letters and digits: is it the secret key?"),
        ("amazonses", "CharSet", "UTF 8 SECRET", "is not the name of a character set such as UTF-8"),
        ("amazonses", "SecretAccessKey", " SECRET", NO_KEY),
    ] {
        let found = errors(&with(code, json!({ name: value })));
        assert_eq!(found, [format!("email_backend.settings.{name}: {message}")]);
    }
    let both = with("sendgrid", json!({ "Region": "eu", "Endpoint": "http://x.test" }));
    assert_eq!(errors(&both), ["email_backend.settings.Region: give either this or Endpoint"]);
}

#[test]
fn an_unknown_provider_is_refused() {
    let smtp = errors(&config("smtp", json!({ "SMTPAddress": "mx.acme.test:25", "SMTPPassword": "SECRET" })));
    assert_eq!(
        smtp,
        ["email_backend.code: \"smtp\" cannot work here: a proxy's filter sends HTTP requests only. Use the HTTP API \
          of a provider: mandrill, sendgrid, mailgun, amazonses"]
    );
    assert!(errors(&config("mock", json!({})))[0].starts_with("email_backend.code: \"mock\" sends nothing; "));
    assert_eq!(
        errors(&config("sendgird", json!({}))),
        ["email_backend.code: \"sendgird\" is not one of mandrill, sendgrid, mailgun, amazonses (did you mean \
             \"sendgrid\"?)"]
    );
    assert_eq!(
        errors(&config("", json!({}))),
        ["email_backend.code: missing: one of mandrill, sendgrid, mailgun, amazonses"]
    );
}

#[test]
fn the_sender_is_required_and_valid() {
    let with = |name: &str, value: &str| {
        let mut config = config("mandrill", settings("mandrill"));
        config["email_backend"][name] = json!(value);
        config
    };
    for (name, value, message) in [
        ("default_from_email", "", "missing: the address that emails come from"),
        ("default_from_email", "acme.test", "\"acme.test\" has no @"),
        (
            "default_from_email",
            "a@b.test\r\nBcc: c@d.test",
            r#""a@b.test\r\nBcc: c@d.test" has a space or a control character"#,
        ),
        ("default_from_name", "Acme\r\nBcc: x", "has a line break or another control character"),
    ] {
        assert_eq!(errors(&with(name, value)), [format!("email_backend.{name}: {message}")]);
    }
    assert!(load(&with("default_from_name", "")).backend.from.name.is_none());
    assert!(load(&with("dashboard_hostname", "acme.test")).backend.notify_users);
}

#[test]
fn switched_off_email_may_lack_settings_and_may_be_smtp() {
    let off = |code: &str, settings: Value| json!({ "email_backend": { "code": code, "settings": settings } });
    for config in [
        json!({}),
        off("", json!({})),
        off("smtp", json!({ "SMTPAddress": "x" })),
        off("mock", json!({})),
        off("mailgun", json!({})),
        off("amazonses", json!({})),
        off("sendgrid", settings("sendgrid")),
    ] {
        let (config, _) = Config::load(config.to_string().as_bytes()).unwrap();
        assert!(config.notifications.mail.is_none());
    }
    let mut full = config("mandrill", settings("mandrill"));
    full["email_backend"]["enable_email_notifications"] = json!(false);
    assert!(Config::load(full.to_string().as_bytes()).unwrap().0.notifications.mail.is_none());
    assert_eq!(errors(&off("mandrill", json!({ "Key": "SECRET" }))).len(), 1);
    assert_eq!(errors(&off("male", json!({}))).len(), 1);
}

#[test]
fn unknown_emails_and_wrong_templates_are_reported() {
    let with = |templates: Value| {
        let mut config = config("mandrill", settings("mandrill"));
        config["email_templates"] = templates;
        config
    };
    let found = errors(&with(json!({
        "key_event": { "html": "<p>\n{{#if action}}" },
        "key_reqest_event": { "text": "x" },
        "api_event": { "subject": "{{> x}}", "text": "{{.Type", "html": "ok" },
        "UserRegistered": { "body": "x" }
    })));
    let begins = [
        "email_templates.UserRegistered.body: unknown field",
        "email_templates.key_event.html: line 2, column 1: {{#if}} has no {{/if}}",
        "email_templates.api_event.subject: line 1, column 1: {{> x}}: partials and decorators are not supported",
        "email_templates.api_event.text: line 1, column 1: a tag {{ has no end }}",
        "email_templates.key_reqest_event: no email template has this name (did you mean \"key_request_event\"?)",
    ];
    assert_eq!(found.len(), begins.len(), "{found:?}");
    assert!(found.iter().zip(begins).all(|(error, begins)| error.starts_with(begins)), "{found:?}");
    let twice = json!({ "OrganisationRegistered": { "text": "x" }, "OrganizationRegistered": { "text": "x" } });
    assert_eq!(
        errors(&with(twice)),
        ["email_templates.OrganizationRegistered: OrganisationRegistered is the same template in another spelling"]
    );
    let off = json!({ "email_templates": { "key_event": { "text": "x" } } });
    let (_, warnings) = Config::load(off.to_string().as_bytes()).unwrap();
    assert!(warnings.iter().any(|warning| warning.path == "email_templates"));
}

#[test]
fn a_shared_email_is_replaced_before_those_that_share_it() {
    let mut config = config("mandrill", settings("mandrill"));
    config["email_templates"] = json!({
        "AuthFailure": { "subject": "Own" }, "gateway_event": { "text": "all: {{Type}}" },
        "hashed_key_event": { "subject": "Hashed" }, "key_event": { "html": "<b>{{action}}</b>" }
    });
    let mail = load(&config);
    let event = crate::event::Event::sample(crate::event::EventKind::AuthFailure);
    let email = |name| {
        let to = crate::notify::content::mail::testing::mailbox("", "dev@acme.test");
        mail.message(
            name,
            &crate::notify::templates::EmailFacts {
                action: "add",
                ..crate::notify::templates::EmailFacts::of_event(&event)
            },
            to,
        )
        .unwrap()
    };
    let failure = email("AuthFailure");
    assert_eq!((failure.subject.as_str(), failure.text.as_str(), failure.html), ("Own", "all: AuthFailure", None));
    assert_eq!(failure.from, mail.backend.from);
    assert_eq!(email("KeyExpired").text.as_str(), "all: AuthFailure");
    let hashed = email("hashed_key_event");
    assert_eq!((hashed.subject.as_str(), hashed.html.unwrap().as_str()), ("Hashed", "<b>add</b>"));
    assert!(hashed.text.as_str().starts_with("An API key was created."));
}

#[test]
fn no_secret_is_shown() {
    for provider in Provider::ALL {
        let code = provider.code();
        let raw: crate::config::raw::Config = crate::config::raw::read(config(code, settings(code))).unwrap();
        let mail = load(&config(code, settings(code)));
        let request = mail.backend.account.request(&crate::notify::content::mail::testing::email());
        assert!(format!("{request:?}{:?}", request.headers).len() > 20);
        let shown = format!("{raw:?} {:?} {request:?}", mail.backend);
        assert!(!shown.contains("SECRET") && !shown.contains("AKID"), "{shown}");
    }
}
