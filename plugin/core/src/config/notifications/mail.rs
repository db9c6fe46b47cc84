//! Checks `email_backend` and `email_templates`. What stands in the settings may be a secret: no error shows a value of
//! them.

use litemap::LiteMap;

use crate::base::{Address, Mailbox, Name, hint, is_domain, member};
use crate::config::calls::target::target;
use crate::config::calls::url::CallUrl;
use crate::config::error::Errors;
use crate::config::raw;
use crate::delivery::Target;
use crate::event::EventKind;
use crate::notify::{
    Account, AmazonSes, AwsKey, Backend, Mail, MailTemplates, Mailgun, Mandrill, Part, Provider, Secret, SendGrid,
    mailgun, mandrill, sendgrid, ses, templates,
};

const PATH: &str = "email_backend";
const SETTINGS: &str = "email_backend.settings";

/// What each provider knows; what it needs is asked for one by one.
fn known_settings(provider: Provider) -> &'static [&'static str] {
    match provider {
        Provider::Mandrill => &["ClientKey", "Endpoint"],
        Provider::SendGrid => &["ClientKey", "Endpoint", "Region"],
        Provider::Mailgun => &["Domain", "PrivateKey", "PublicKey", "Endpoint", "Region"],
        Provider::AmazonSes => &["Endpoint", "Region", "AccessKeyId", "SecretAccessKey", "CharSet"],
    }
}

/// Everything of e-mail; `None` where it is switched off, or something is wrong. What is switched off may lack
/// anything, but what is there is checked.
pub fn check(raw: &raw::Config, errors: &mut Errors, warnings: &mut Errors) -> Option<Mail> {
    let enabled = raw.email_backend.enable_email_notifications;
    let templates = check_templates(&raw.email_templates, enabled, errors, warnings);
    let backend = check_backend(&raw.email_backend, &raw.callouts, errors);
    Some(Mail { backend: backend?, templates: templates? })
}

fn check_templates(
    raw: &raw::Named<raw::EmailTemplate>,
    enabled: bool,
    errors: &mut Errors,
    warnings: &mut Errors,
) -> Option<MailTemplates> {
    if !enabled && raw.is_empty() {
        return None;
    }
    if !enabled {
        warnings.add("email_templates", "has no effect: email_backend.enable_email_notifications is not set");
    }
    let mut letters = MailTemplates::builtin();
    // What others share comes first: they keep what they do not replace.
    let (shared, own): (Vec<_>, Vec<_>) = raw.iter().partition(|(name, _)| templates::is_shared(name));
    let mut seen: LiteMap<_, _> = LiteMap::new();
    for (name, letter) in shared.into_iter().chain(own) {
        let path = member("email_templates", name);
        let Some(known) = templates::known(name) else {
            errors.add(path, format!("no email template has this name{}", hint(name, templates::names())));
            continue;
        };
        if EventKind::NEVER_FIRED.contains(&known) {
            warnings.add(&path, "this event never fires here");
        }
        if let Some(other) = seen.insert(known, name) {
            errors.add(path, format!("{other} is the same template in another spelling"));
            continue;
        }
        let parts = [(Part::Subject, &letter.subject), (Part::Text, &letter.text), (Part::Html, &letter.html)];
        let given: Vec<(Part, &str)> = parts
            .iter()
            .filter(|(_, source)| !source.is_empty())
            .map(|(part, source)| (*part, source.as_str()))
            .collect();
        for (part, error) in letters.replace(name, &given) {
            errors.add(member(&path, part.field()), error.to_string());
        }
    }
    Some(letters)
}

fn check_backend(raw: &raw::EmailBackend, callouts: &raw::Callouts, errors: &mut Errors) -> Option<Backend> {
    let required = raw.enable_email_notifications;
    let from = sender(raw, required, errors);
    let provider = provider(&raw.code, required, errors)?;
    let mut settings = Settings { raw: &raw.settings, provider, required, callouts, errors };
    settings.report_unknown();
    let account = settings.account();
    let event_timeout_ms = raw.event_timeout.saturating_mul(1000);
    let backend = Backend { from: from?, notify_users: raw.notify_users, event_timeout_ms, account: account? };
    required.then_some(backend)
}

fn sender(raw: &raw::EmailBackend, required: bool, errors: &mut Errors) -> Option<Mailbox> {
    let (email, name) = (&raw.default_from_email, &raw.default_from_name);
    let name = Name::parse(name).unwrap_or_else(|error| {
        errors.add(member(PATH, "default_from_name"), error.to_string());
        None
    });
    let place = member(PATH, "default_from_email");
    if email.is_empty() {
        if required {
            errors.add(place, "missing: the address that letters come from");
        }
        return None;
    }
    match Address::parse(email) {
        Ok(address) => Some(Mailbox { address, name }),
        Err(error) => {
            errors.add(place, format!("{email:?} {error}"));
            None
        }
    }
}

fn provider(code: &str, required: bool, errors: &mut Errors) -> Option<Provider> {
    let place = member(PATH, "code");
    let known = || Provider::ALL.map(Provider::code).join(", ");
    match code.to_ascii_lowercase().as_str() {
        "" if required => errors.add(place, format!("missing: one of {}", known())),
        "smtp" if required => errors.add(
            place,
            format!(
                "\"smtp\" cannot work here: a proxy's filter sends HTTP requests only. Use the HTTP API of a \
                 provider: {}",
                known()
            ),
        ),
        "mock" if required => errors.add(
            place,
            "\"mock\" sends nothing; to send nothing set enable_email_notifications to false, to try letters out give \
             a provider's settings an Endpoint of your own",
        ),
        "" | "smtp" | "mock" => {}
        _ => match Provider::from_code(code) {
            Some(provider) => return Some(provider),
            None => {
                let hint = hint(code, Provider::ALL.map(Provider::code));
                errors.add(place, format!("{code:?} is not one of {}{hint}", known()));
            }
        },
    }
    None
}

struct Settings<'c> {
    raw: &'c raw::Named<String>,
    provider: Provider,
    required: bool,
    callouts: &'c raw::Callouts,
    errors: &'c mut Errors,
}

impl<'c> Settings<'c> {
    fn report_unknown(&mut self) {
        let known = known_settings(self.provider);
        for name in self.raw.keys().filter(|name| !known.contains(&name.as_str())) {
            let message = format!(
                "{} has no such setting{}; it has {}",
                self.provider.code(),
                hint(name, known.iter().copied()),
                known.join(", ")
            );
            self.errors.add(member(SETTINGS, name), message);
        }
    }

    fn error(&mut self, name: &str, message: impl Into<String>) {
        self.errors.add(member(SETTINGS, name), message);
    }

    /// Empty is as good as missing.
    fn given(&self, name: &str) -> Option<&'c str> {
        self.raw.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn needed(&mut self, name: &str) -> Option<&'c str> {
        let value = self.given(name);
        if value.is_none() && self.required {
            self.error(name, "missing");
        }
        value
    }

    /// A key as providers give them out: it fits into a header.
    fn key(&mut self, name: &str) -> Option<Secret> {
        let value = self.needed(name)?;
        if value.chars().all(|c| c.is_ascii_graphic()) {
            return Some(Secret::new(value));
        }
        self.error(name, "has characters that no key has (a space, a line break at its end, …)");
        None
    }

    fn account(&mut self) -> Option<Account> {
        Some(match self.provider {
            Provider::Mandrill => {
                let client_key = self.key("ClientKey");
                let target = self.target(mandrill::BASE, mandrill::PATH);
                Account::Mandrill(Mandrill { target: target?, client_key: client_key? })
            }
            Provider::SendGrid => {
                let client_key = self.key("ClientKey");
                let base = self.base(sendgrid::BASE, sendgrid::EU_BASE);
                let target = self.target(base, sendgrid::PATH);
                Account::SendGrid(SendGrid { target: target?, client_key: client_key? })
            }
            Provider::Mailgun => {
                let private_key = self.key("PrivateKey");
                let domain = self.needed("Domain");
                let legal = domain.filter(|domain| is_domain(domain));
                if domain.is_some() && legal.is_none() {
                    self.error("Domain", "is not a domain such as mg.example.com");
                }
                let base = self.base(mailgun::BASE, mailgun::EU_BASE);
                let target = self.target(base, &mailgun::path(legal.unwrap_or_default()));
                legal?;
                Account::Mailgun(Mailgun { target: target?, private_key: private_key? })
            }
            Provider::AmazonSes => Account::AmazonSes(self.amazon_ses()?),
        })
    }

    /// The US or the EU.
    fn base(&mut self, us: &'static str, eu: &'static str) -> &'static str {
        let Some(region) = self.given("Region") else { return us };
        if self.given("Endpoint").is_some() {
            self.error("Region", "give either this or Endpoint");
        }
        match region.to_ascii_lowercase().as_str() {
            "eu" => return eu,
            "us" => {}
            _ => self.error("Region", "is not one of us, eu"),
        }
        us
    }

    fn amazon_ses(&mut self) -> Option<AmazonSes> {
        let (access_key_id, secret_access_key) = (self.key("AccessKeyId"), self.key("SecretAccessKey"));
        let is_word = |id: &&str| id.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let is_id = self.given("AccessKeyId").filter(is_word).is_some();
        if access_key_id.is_some() && !is_id {
            self.error("AccessKeyId", "is not letters and digits: is it the secret key?");
        }
        let charset = self.given("CharSet").unwrap_or(ses::DEFAULT_CHARSET);
        let is_charset = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '+');
        if charset.len() > 40 || !charset.chars().all(is_charset) {
            self.error("CharSet", "is not the name of a character set such as UTF-8");
        }
        let region = self.region();
        let base = ses::base(region.as_deref().unwrap_or_default());
        let target = match (self.given("Endpoint"), &region) {
            (None, None) => None,
            _ => self.target(&base, ses::PATH),
        };
        let key = AwsKey {
            region: region?,
            access_key_id: access_key_id.filter(|_| is_id)?,
            secret_access_key: secret_access_key?,
        };
        Some(AmazonSes { target: target?, key, charset: charset.to_owned() })
    }

    /// `Region`, or what the host of `Endpoint` tells. A signature for another region than the host's is refused by
    /// AWS.
    fn region(&mut self) -> Option<String> {
        let region = self.given("Region");
        if region.is_some_and(|region| !ses::is_region(region)) {
            self.error("Region", "is not a region of AWS such as eu-west-1");
            return None;
        }
        let endpoint = self.given("Endpoint").map(with_scheme);
        let url = endpoint.as_deref().and_then(|url| CallUrl::parse(url).ok());
        let told = url.as_ref().and_then(|url| ses::region_of_host(&url.host)).map(str::to_owned);
        match (region, told) {
            (Some(region), Some(told)) if region != told => {
                self.error("Region", format!("differs from that of Endpoint, which is {told}"));
                None
            }
            (Some(region), _) => Some(region.to_owned()),
            (None, Some(told)) => Some(told),
            (None, None) => {
                if self.required {
                    let message = match endpoint {
                        Some(_) => "missing: Endpoint does not tell it, as email.eu-west-1.amazonaws.com would",
                        None => "missing: give Region, Endpoint or both",
                    };
                    self.error("Region", message);
                }
                None
            }
        }
    }

    /// Where the API's `path` is: behind `Endpoint`, else behind `base`.
    fn target(&mut self, base: &str, path: &str) -> Option<Target> {
        let place = member(SETTINGS, "Endpoint");
        let endpoint = self.given("Endpoint").map(with_scheme);
        if endpoint.as_ref().is_some_and(|url| url.contains(['?', '#', '@'])) {
            self.errors
                .add(place, "is a URL with a query or a user: only scheme, host, port and the beginning of a path");
            return None;
        }
        let base = endpoint.as_deref().unwrap_or(base).trim_end_matches('/');
        // Its own errors show the URL's host, and who mistakes one setting for another has put a key there.
        let (mut unshown, mut notices) = (Errors::default(), Errors::default());
        let found = target(&place, &format!("{base}{path}"), self.callouts, &mut unshown, &mut notices);
        if found.is_none() {
            self.errors.add(place, "is not an absolute http or https URL");
        }
        found.map(|(target, _)| target)
    }
}

/// Tyk's Endpoint needs a scheme in some versions and must not have one in others.
fn with_scheme(endpoint: &str) -> String {
    if endpoint.contains("://") { endpoint.to_owned() } else { format!("https://{endpoint}") }
}

#[cfg(test)]
mod tests;
