//! Checks `email_backend` and `email_templates`. The settings may be secrets, so no error shows a value of them.

use litemap::LiteMap;

use crate::base::{Address, Mailbox, Name, hint, member};
use crate::config::calls::target;
use crate::config::calls::url::CallUrl;
use crate::config::error::Errors;
use crate::config::raw;
use crate::event::EventKind;
use crate::notify::{Account, Backend, Mail, MailTemplates, Part, Provider, Settings, templates};

const PATH: &str = "email_backend";
const SETTINGS: &str = "email_backend.settings";

/// Checks e-mail. Returns `None` if it is switched off or has an error. Switched-off e-mail may lack settings, but
/// those that are present are checked.
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
    let mut emails = MailTemplates::builtin();
    // Shared emails come first, because others use them for parts that they do not replace.
    let (shared, own): (Vec<_>, Vec<_>) = raw.iter().partition(|(name, _)| templates::is_shared(name));
    let mut seen: LiteMap<_, _> = LiteMap::new();
    for (name, email) in shared.into_iter().chain(own) {
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
        let parts = [(Part::Subject, &email.subject), (Part::Text, &email.text), (Part::Html, &email.html)];
        let given: Vec<(Part, &str)> = parts
            .iter()
            .filter(|(_, source)| !source.is_empty())
            .map(|(part, source)| (*part, source.as_str()))
            .collect();
        for (part, error) in emails.replace(name, &given) {
            errors.add(member(&path, part.field()), error.to_string());
        }
    }
    Some(emails)
}

fn check_backend(raw: &raw::EmailBackend, callouts: &raw::Callouts, errors: &mut Errors) -> Option<Backend> {
    let required = raw.enable_email_notifications;
    let from = sender(raw, required, errors);
    let provider = provider(&raw.code, required, errors)?;
    report_unknown(provider, &raw.settings, errors);
    let account = account(provider, raw, callouts, errors);
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
            errors.add(place, "missing: the address that emails come from");
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

fn codes() -> impl Iterator<Item = &'static str> {
    Provider::ALL.iter().map(|provider| provider.code())
}

fn provider(code: &str, required: bool, errors: &mut Errors) -> Option<Provider> {
    let place = member(PATH, "code");
    let known = || codes().collect::<Vec<_>>().join(", ");
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
            "\"mock\" sends nothing; to send nothing set enable_email_notifications to false, to try emails out give \
             a provider's settings an Endpoint of your own",
        ),
        "" | "smtp" | "mock" => {}
        _ => match Provider::from_code(code) {
            Some(provider) => return Some(provider),
            None => {
                let hint = hint(code, codes());
                errors.add(place, format!("{code:?} is not one of {}{hint}", known()));
            }
        },
    }
    None
}

fn report_unknown(provider: Provider, raw: &raw::Named<String>, errors: &mut Errors) {
    let known = provider.settings();
    for name in raw.keys().filter(|name| !known.contains(&name.as_str())) {
        let message = format!(
            "{} has no such setting{}; it has {}",
            provider.code(),
            hint(name, known.iter().copied()),
            known.join(", ")
        );
        errors.add(member(SETTINGS, name), message);
    }
}

fn account(
    provider: Provider,
    raw: &raw::EmailBackend,
    callouts: &raw::Callouts,
    errors: &mut Errors,
) -> Option<Account> {
    let mut settings = Settings {
        value_of: &|name| raw.settings.get(name).map(String::as_str).filter(|value| !value.is_empty()),
        is_required: raw.enable_email_notifications,
        // The URL's own errors show its host. An author who confuses two settings may have put a key there.
        target_of: &|url| Some(target("", url, callouts, &mut Errors::default(), &mut Errors::default())?.0),
        host_of: &|url| Some(CallUrl::parse(url).ok()?.host),
        errors: Vec::new(),
    };
    let account = provider.read(&mut settings);
    for (name, message) in settings.errors {
        errors.add(member(SETTINGS, &name), message);
    }
    account
}

#[cfg(test)]
mod tests;
