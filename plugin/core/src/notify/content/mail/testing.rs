//! Emails and accounts for tests.

use serde_json::{Value, json};

use super::{EmailBody, EmailMessage, EmailSubject, Mail};
use crate::base::{Address, Mailbox, Name};
use crate::config::Config;

pub fn mailbox(name: &str, address: &str) -> Mailbox {
    Mailbox { address: Address::parse(address).unwrap(), name: Name::parse(name).unwrap() }
}

pub fn email() -> EmailMessage {
    EmailMessage {
        to: mailbox("Jörg <x>, \"dev\"", "dev@acme.test"),
        from: mailbox("Acme APIs", "no-reply@acme.test"),
        subject: EmailSubject::new("Schlüssel \"é\" <b>"),
        text: EmailBody::new("Grüße\n--tollbell\r\n\"a\" <b>\n".into()),
        html: Some(EmailBody::new("<p>Grüße &lt;b&gt;</p>\n".into())),
    }
}

/// The settings that each provider needs.
pub fn settings(code: &str) -> Value {
    match code {
        "mailgun" => json!({ "Domain": "mg.acme.test", "PrivateKey": "key-SECRET", "PublicKey": "pubkey-SECRET" }),
        "amazonses" => json!({
            "Region": "eu-west-1", "AccessKeyId": "AKIDEXAMPLE", "SecretAccessKey": "wJalrXUtnFEMI/SECRET"
        }),
        _ => json!({ "ClientKey": "SG.SECRET_key-1" }),
    }
}

pub fn config(code: &str, settings: Value) -> Value {
    json!({ "email_backend": {
        "enable_email_notifications": true, "code": code, "settings": settings,
        "default_from_email": "no-reply@acme.test", "default_from_name": "Acme APIs"
    } })
}

pub fn load(config: &Value) -> Mail {
    match Config::load(config.to_string().as_bytes()) {
        Ok((config, _)) => config.notifications.mail.unwrap(),
        Err(errors) => panic!("{errors:?}"),
    }
}
