//! Amazon SES: [`SendEmail`](https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html) of its API v2.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::letter::EmailMessage;
use super::request::MailRequest;
use super::secret::Secret;
use super::sigv4::{Credentials, UnsignedRequest};
use crate::base::{UnixMillis, object};
use crate::delivery::Target;

/// What to post to.
pub const PATH: &str = "/v2/email/outbound-emails";

/// The charset of a letter where none is set.
pub const DEFAULT_CHARSET: &str = "UTF-8";

const SERVICE: &str = "ses";

/// An account in a region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AmazonSes {
    pub target: Target,
    pub key: AwsKey,
    pub charset: String,
}

/// What signs the requests for an account, whenever they are sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AwsKey {
    pub region: String,
    pub access_key_id: Secret,
    pub secret_access_key: Secret,
}

impl AwsKey {
    /// The headers to add to an attempt that begins `now`: `x-amz-date` and `authorization`.
    ///
    /// `headers` are the request's, with its pseudo-headers. The host, the content type and the date are signed: a
    /// proxy may add or change other headers on the way.
    pub fn sign(&self, headers: &[(String, String)], body: &[u8], now: UnixMillis) -> Vec<(String, String)> {
        let value = |name: &str| headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value);
        let request = UnsignedRequest {
            method: value(":method"),
            path_and_query: value(":path"),
            headers: &[("content-type", value("content-type")), ("host", value(":authority"))],
            body,
        };
        let credentials = Credentials {
            access_key_id: self.access_key_id.reveal(),
            secret_access_key: self.secret_access_key.reveal(),
            region: &self.region,
            service: SERVICE,
        };
        // It is empty past the year 9999.
        credentials.sign(&request, now).unwrap_or_default()
    }
}

impl AmazonSes {
    pub(super) fn request(&self, letter: &EmailMessage) -> MailRequest {
        let content = |data: &str| object(&mut [("Data", data.into()), ("Charset", self.charset.as_str().into())]);
        let mut body = Map::new();
        for (name, part) in [("Text", letter.text_part()), ("Html", letter.html_part())] {
            body.extend(part.map(|part| (name.to_owned(), content(part))));
        }
        let message = object(&mut [("Subject", content(letter.subject.as_str())), ("Body", Value::Object(body))]);
        let to = Value::Array(vec![letter.to.in_header().into()]);
        let send = object(&mut [
            ("FromEmailAddress", letter.from.in_header().into()),
            ("Destination", object(&mut [("ToAddresses", to)])),
            ("Content", object(&mut [("Simple", message)])),
        ]);
        MailRequest::json(&self.target, &send)
    }
}

/// The region that a host name tells: what follows `email` or `email-fips`, as in `email.eu-west-1.amazonaws.com`.
pub fn region_of_host(host: &str) -> Option<&str> {
    let mut labels = host.split('.');
    labels.find(|label| matches!(*label, "email" | "email-fips"))?;
    labels.next().filter(|region| is_region(region))
}

/// Words and a number, such as `us-gov-west-1`.
pub fn is_region(text: &str) -> bool {
    let Some((words, number)) = text.rsplit_once('-') else { return false };
    let is_word = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase());
    words.contains('-')
        && words.split('-').all(is_word)
        && !number.is_empty()
        && number.len() <= 2
        && number.chars().all(|c| c.is_ascii_digit())
}

/// The host of a region's API.
pub fn base(region: &str) -> String {
    let top = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    format!("https://email.{region}.{top}")
}
