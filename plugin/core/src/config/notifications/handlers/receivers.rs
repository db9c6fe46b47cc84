//! Checks what the built-in messages for receivers need: their settings, their headers, and links.

use litemap::LiteMap;

use crate::base::member;
use crate::config::calls::url::CallUrl;
use crate::config::error::Errors;
use crate::config::raw;
use crate::notify::{Body, Form, Handlers, Links, MAX_LINKS, MAX_NAME_BYTES, Receiver, Receivers, Templates, Use};

/// The settings of a handler, or those of its named webhook where it has none.
pub(super) fn merged(own: &raw::ReceiverSettings, named: &raw::ReceiverSettings) -> raw::ReceiverSettings {
    let default = raw::ReceiverSettings::default();
    let or = |own: &String, named: &String, default: &String| if own == default { named.clone() } else { own.clone() };
    raw::ReceiverSettings {
        routing_key: or(&own.routing_key, &named.routing_key, &default.routing_key),
        source: or(&own.source, &named.source, &default.source),
    }
}

/// Where a handler's messages come from; `None` if no template has the name. An entry of `templates` comes before a
/// receiver of the same name.
pub(super) fn body(templates: &Templates, meta: &raw::HandlerMeta) -> Option<Body> {
    let name = &meta.template_path;
    let receiver =
        || Receiver::named(name).map(|receiver| Body::Receiver { receiver, source: meta.receiver.source.clone() });
    templates.find(name).map(Body::Template).or_else(receiver)
}

pub(super) fn content_type(templates: &Templates, body: &Body) -> &'static str {
    match body {
        Body::Template(template) => templates.format(template).content_type(),
        Body::Receiver { receiver, .. } => receiver.content_type,
    }
}

/// Checks the settings of a handler's receiver, and returns those that are members of its messages. The places are
/// those of the handler's settings and of its headers.
pub(super) fn check(
    (path, headers_path): (&str, &str),
    meta: &raw::HandlerMeta,
    body: &Body,
    headers: &LiteMap<String, String>,
    errors: &mut Errors,
    warnings: &mut Errors,
) -> Vec<(String, String)> {
    const ROUTING_KEY_CHARS: usize = 32;
    let (name, uses) = match body {
        Body::Template(_) => ("", &[][..]),
        Body::Receiver { receiver, .. } => (receiver.name, receiver.uses),
    };
    let path = member(path, "receiver");
    let (routing_key_path, source_path) = (member(&path, "routing_key"), member(&path, "source"));
    let raw::ReceiverSettings { routing_key, source } = &meta.receiver;
    let mut secrets = Vec::new();
    if uses.contains(&Use::RoutingKey) {
        if routing_key.is_empty() {
            errors.add(&routing_key_path, format!("missing: {name} needs the integration key of a service"));
        } else if routing_key.len() != ROUTING_KEY_CHARS
            || !routing_key.bytes().all(|byte| byte.is_ascii_alphanumeric())
        {
            warnings.add(&routing_key_path, format!("an integration key has {ROUTING_KEY_CHARS} letters and digits"));
        }
        secrets.push(("routing_key".to_owned(), routing_key.clone()));
    } else if !routing_key.is_empty() {
        warnings.add(&routing_key_path, "ignored: it is for the template pagerduty");
    }
    if uses.contains(&Use::Source) {
        if source.is_empty() || !source.bytes().all(|byte| byte.is_ascii_graphic()) {
            errors.add(&source_path, "not a URI or a relative reference");
        }
    } else if *source != raw::ReceiverSettings::default().source {
        warnings.add(&source_path, "ignored: it is for the template cloudevents");
    }
    if uses.contains(&Use::Authorization) && !headers.contains_key("authorization") {
        let message =
            format!("has no Authorization, without which {name} takes no message: write \"GenieKey\" and an API key");
        warnings.add(headers_path, message);
    }
    secrets
}

/// The messages for the receivers that handlers use, with their links.
pub fn receivers(
    raw: &raw::Named<String>,
    handlers: &Handlers,
    errors: &mut Errors,
    warnings: &mut Errors,
) -> Receivers {
    let mut links = Links::default();
    if raw.len() > MAX_LINKS {
        errors.add("links", format!("has {} entries, and a message shows at most {MAX_LINKS}", raw.len()));
    }
    for (name, url) in raw {
        let place = member("links", name);
        if name.is_empty() || name.len() > MAX_NAME_BYTES || name.chars().any(char::is_control) {
            errors.add(&place, format!("the name of a link has 1 to {MAX_NAME_BYTES} bytes and no control characters"));
        }
        match links.add(name, url) {
            Err(error) => errors.add(place, error.to_string()),
            Ok(sample) => {
                if let Err(fault) = CallUrl::parse(&sample) {
                    errors.add(place, format!("for a sample event, this {fault}"));
                }
            }
        }
    }
    let used = handlers.iter().filter_map(|handler| match &handler.action.channel()?.form {
        Form::Webhook(webhook) => match webhook.body {
            Body::Receiver { receiver, .. } => Some(receiver),
            Body::Template(_) => None,
        },
        Form::Email(_) => None,
    });
    let used: Vec<_> = used.collect();
    if used.is_empty() && !raw.is_empty() {
        warnings.add("links", "no effect: no handler has a built-in template for a receiver");
    }
    Receivers::new(used.into_iter(), links)
}

#[cfg(test)]
mod tests;
