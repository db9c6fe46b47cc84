//! Amazon SES: [`SendEmail`](https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html) of its API v2.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::providers::MailProvider;
use super::secret::Secret;
use super::sigv4::{Credentials, UnsignedRequest};
use super::verdict::{Kind, find};
use super::{EmailMessage, MailRequest, ProviderAnswer, ProviderVerdict, Settings};
use crate::base::{UnixMillis, object};
use crate::delivery::Target;

/// The path of the API's request.
const PATH: &str = "/v2/email/outbound-emails";

/// The default charset of an email.
const DEFAULT_CHARSET: &str = "UTF-8";

const SERVICE: &str = "ses";

/// The errors of SES's `SendEmail` and those common to all of AWS, by type.
pub(super) const SES: [(&str, Kind); 37] = [
    ("AccountSuspendedException", Kind::Final),
    ("BadRequestException", Kind::Final),
    ("MailFromDomainNotVerifiedException", Kind::Final),
    ("MessageRejected", Kind::Final),
    ("NotFoundException", Kind::Final),
    ("AccessDeniedException", Kind::Final),
    ("ExpiredTokenException", Kind::Final),
    ("IncompleteSignature", Kind::Final),
    ("IncompleteSignatureException", Kind::Final),
    ("InvalidAction", Kind::Final),
    ("InvalidClientTokenId", Kind::Final),
    ("MalformedHttpRequestException", Kind::Final),
    ("MissingAuthenticationToken", Kind::Final),
    ("MissingAuthenticationTokenException", Kind::Final),
    ("NotAuthorized", Kind::Final),
    ("OptInRequired", Kind::Final),
    ("RequestEntityTooLargeException", Kind::Final),
    ("SerializationException", Kind::Final),
    ("UnknownOperationException", Kind::Final),
    ("UnrecognizedClientException", Kind::Final),
    ("ValidationError", Kind::Final),
    ("ValidationException", Kind::Final),
    // The secret is wrong, unless the message is about the time.
    ("InvalidSignatureException", Kind::Final),
    ("SignatureDoesNotMatch", Kind::Final),
    ("LimitExceededException", Kind::Passing),
    ("SendingPausedException", Kind::Passing),
    ("Throttling", Kind::Passing),
    ("ThrottlingException", Kind::Passing),
    ("TooManyRequestsException", Kind::Passing),
    ("InternalFailure", Kind::Passing),
    ("InternalServiceErrorException", Kind::Passing),
    ("RequestAbortedException", Kind::Passing),
    ("RequestTimeoutException", Kind::Passing),
    ("ServiceUnavailable", Kind::Passing),
    ("ServiceUnavailableException", Kind::Passing),
    // The clock may be corrected before the next attempt, which has its own time.
    ("RequestExpired", Kind::Passing),
    ("RequestTimeTooSkewed", Kind::Passing),
];

const CLOCK: &str = "the proxy's clock and that of AWS differ too much";

/// An account in a region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AmazonSes {
    target: Target,
    key: AwsKey,
    charset: String,
}

/// The key that signs an account's requests at each attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AwsKey {
    pub region: String,
    pub access_key_id: Secret,
    pub secret_access_key: Secret,
}

impl AwsKey {
    /// The additional headers of an attempt that begins at `now`: `x-amz-date` and `authorization`.
    ///
    /// `headers` are the request's, with its pseudo-headers. The host, the content type and the date are signed,
    /// because a proxy may add or change other headers.
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
        // The value is empty past the year 9999.
        credentials.sign(&request, now).unwrap_or_default()
    }
}

impl MailProvider for AmazonSes {
    const CODE: &'static str = "amazonses";
    const SETTINGS: &'static [&'static str] = &["Endpoint", "Region", "AccessKeyId", "SecretAccessKey", "CharSet"];

    fn read(settings: &mut Settings<'_>) -> Option<Self> {
        let (access_key_id, secret_access_key) = (settings.key("AccessKeyId"), settings.key("SecretAccessKey"));
        let is_word = |id: &&str| id.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let is_id = settings.given("AccessKeyId").filter(is_word).is_some();
        if access_key_id.is_some() && !is_id {
            settings.error("AccessKeyId", "is not letters and digits: is it the secret key?");
        }
        let charset = settings.given("CharSet").unwrap_or(DEFAULT_CHARSET);
        let is_charset = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '+');
        if charset.len() > 40 || !charset.chars().all(is_charset) {
            settings.error("CharSet", "is not the name of a character set such as UTF-8");
        }
        let region = region(settings);
        let base = base(region.as_deref().unwrap_or_default());
        let target = match (settings.given("Endpoint"), &region) {
            (None, None) => None,
            _ => settings.target(&base, PATH),
        };
        let key = AwsKey {
            region: region?,
            access_key_id: access_key_id.filter(|_| is_id)?,
            secret_access_key: secret_access_key?,
        };
        Some(AmazonSes { target: target?, key, charset: charset.to_owned() })
    }

    fn target(&self) -> &Target {
        &self.target
    }

    fn request(&self, email: &EmailMessage) -> MailRequest {
        let content = |data: &str| object(&mut [("Data", data.into()), ("Charset", self.charset.as_str().into())]);
        let mut body = Map::new();
        for (name, part) in [("Text", email.text_part()), ("Html", email.html_part())] {
            body.extend(part.map(|part| (name.to_owned(), content(part))));
        }
        let message = object(&mut [("Subject", content(email.subject.as_str())), ("Body", Value::Object(body))]);
        let to = Value::Array(vec![email.to.in_header().into()]);
        let send = object(&mut [
            ("FromEmailAddress", email.from.in_header().into()),
            ("Destination", object(&mut [("ToAddresses", to)])),
            ("Content", object(&mut [("Simple", message)])),
        ]);
        MailRequest::json(&self.target, &send)
    }

    fn sign(&self, headers: &[(String, String)], body: &[u8], now: UnixMillis) -> Vec<(String, String)> {
        self.key.sign(headers, body, now)
    }

    /// Success is 200 with a `MessageId`. Errors have a type, in a header or in the body.
    fn judge(answer: &ProviderAnswer<'_>, now: UnixMillis) -> ProviderVerdict {
        let json = answer.json();
        let text = |name: &str| json.get(name).and_then(Value::as_str);
        if answer.status == 200 {
            let id = text("MessageId").is_some_and(|id| !id.is_empty());
            return if id { ProviderVerdict::Delivered } else { answer.by_status(now) };
        }
        let r#type = (answer.header)("x-amzn-errortype").or_else(|| text("__type").or(text("code")).map(str::to_owned));
        // The forms are `Name:http://…` and `namespace#Name`.
        let r#type = r#type.as_deref().and_then(|name| name.split(':').next()?.rsplit('#').next());
        let message = text("message").or(text("Message")).unwrap_or_default();
        match find(&SES, r#type) {
            Some(("InvalidSignatureException" | "SignatureDoesNotMatch", _)) if speaks_of_time(message) => {
                answer.retry(CLOCK, now)
            }
            Some(("RequestExpired" | "RequestTimeTooSkewed", _)) => answer.retry(CLOCK, now),
            Some((name, kind)) => answer.by_name(name, kind, now),
            None => answer.by_status(now),
        }
    }
}

/// The region in a host name: the part after `email` or `email-fips`, as in `email.eu-west-1.amazonaws.com`.
fn region_of_host(host: &str) -> Option<&str> {
    let mut labels = host.split('.');
    labels.find(|label| matches!(*label, "email" | "email-fips"))?;
    labels.next().filter(|region| is_region(region))
}

/// Words and a number, as in `us-gov-west-1`.
fn is_region(text: &str) -> bool {
    let Some((words, number)) = text.rsplit_once('-') else { return false };
    let is_word = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase());
    words.contains('-')
        && words.split('-').all(is_word)
        && !number.is_empty()
        && number.len() <= 2
        && number.chars().all(|c| c.is_ascii_digit())
}

/// The URL of a region's API.
fn base(region: &str) -> String {
    let top = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    format!("https://email.{region}.{top}")
}

/// The value of `Region`, or the region in the host of `Endpoint`. AWS refuses a signature for another region than the
/// host's.
fn region(settings: &mut Settings<'_>) -> Option<String> {
    let region = settings.given("Region");
    if region.is_some_and(|region| !is_region(region)) {
        settings.error("Region", "is not a region of AWS such as eu-west-1");
        return None;
    }
    let told = settings.endpoint_host().and_then(|host| region_of_host(&host).map(str::to_owned));
    match (region, told) {
        (Some(region), Some(told)) if region != told => {
            settings.error("Region", format!("differs from the region of Endpoint, which is {told}"));
            None
        }
        (Some(region), _) => Some(region.to_owned()),
        (None, Some(told)) => Some(told),
        (None, None) => {
            if settings.is_required {
                let message = match settings.given("Endpoint") {
                    Some(_) => {
                        "missing: the host of Endpoint does not contain it, as email.eu-west-1.amazonaws.com does"
                    }
                    None => "missing: give Region, Endpoint or both",
                };
                settings.error("Region", message);
            }
            None
        }
    }
}

/// AWS uses one error type for a signature with a wrong time and for a wrong signature. Only the message distinguishes
/// them.
fn speaks_of_time(message: &str) -> bool {
    message.contains("Signature expired") || message.contains("Signature not yet current")
}
