//! The places of APIs: their domains and paths.

use litemap::LiteMap;

use crate::access::{HostName, Prefix};
use crate::base::{item, member};
use crate::config::error::Errors;
use crate::config::raw;

/// The ids and places of the APIs checked so far.
#[derive(Default)]
pub struct SeenApis {
    ids: LiteMap<String, String>,
    places: LiteMap<(String, Vec<u8>), String>,
}

impl SeenApis {
    /// Checks an API's id, domain and path. The path is valid only if no error was added.
    pub fn check(&mut self, path: &str, api: &raw::Api, errors: &mut Errors, warnings: &mut Errors) -> Prefix {
        let listen_path = match Prefix::parse(&api.listen_path) {
            Ok(listen_path) if api.strict_listen_path => Some(listen_path.strict()),
            Ok(listen_path) => Some(listen_path),
            Err(error) => {
                errors.add(member(path, "listen_path"), error.to_string());
                None
            }
        };
        if api.listen_path.contains('*') {
            let message = format!("{:?} has a star, which is not a wildcard here", api.listen_path);
            warnings.add(member(path, "listen_path"), message);
        }
        if let Err(message) = check_domain(&api.domain) {
            errors.add(member(path, "domain"), message);
        }
        let first = self.ids.insert(api.api_id.clone(), path.to_owned());
        if let Some(first) = first.filter(|_| !api.api_id.is_empty()) {
            errors.add(member(path, "api_id"), format!("{:?} is already the id of {first}", api.api_id));
        }
        let place = listen_path
            .as_ref()
            .filter(|_| !api.internal)
            .map(|listen_path| (host(&api.domain), listen_path.decoded().to_vec()));
        if let Some(first) = place.and_then(|place| self.places.insert(place, path.to_owned())) {
            errors.add(
                member(path, "listen_path"),
                format!("{first} has the same domain {:?} and listen_path {:?}", api.domain, api.listen_path),
            );
        }
        listen_path.unwrap_or_default()
    }
}

/// A domain in the form for comparisons.
fn host(domain: &str) -> String {
    match HostName::of(domain.as_bytes()) {
        HostName::Known(host) => String::from_utf8_lossy(&host).into_owned(),
        HostName::Unclear => domain.to_owned(),
    }
}

/// True for a host name or an address in the form in which clients send it.
pub fn is_host(text: &str) -> bool {
    check_domain(text).is_ok()
}

/// Checks that a domain is a host name, an address, or empty.
fn check_domain(domain: &str) -> Result<(), String> {
    if domain.is_empty() {
        return Ok(());
    }
    if !domain.is_ascii() && domain.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '.')) {
        return Err(match ascii(domain) {
            Some(ascii) => format!("{domain:?}: clients send this name in punycode: write {ascii:?}"),
            None => format!("{domain:?}: clients send this name in punycode: write the form that begins with xn--"),
        });
    }
    let is_plain = !domain.ends_with('.') && domain.bytes().all(|byte| !byte.is_ascii_whitespace());
    let has_port = !domain.ends_with(']') && domain.contains(':');
    let has_empty_label = domain.split('.').any(str::is_empty);
    if has_port || has_empty_label || !is_plain || HostName::of(domain.as_bytes()) == HostName::Unclear {
        return Err(format!("{domain:?} is not a plain host name: no scheme, port, wildcard or final dot"));
    }
    Ok(())
}

/// A host name with its labels in punycode, as clients send it.
fn ascii(domain: &str) -> Option<String> {
    let label = |label: &str| match label.to_lowercase() {
        label if label.is_ascii() => Some(label),
        label => punycode::encode(&label).ok().map(|encoded| format!("xn--{encoded}")),
    };
    domain.split('.').map(label).collect::<Option<Vec<_>>>().map(|labels| labels.join("."))
}

/// Warns of an API with authentication on one host whose paths other hosts serve without: no API or a keyless API
/// answers there.
pub fn warn_of_other_hosts(raw: &raw::Config, warnings: &mut Errors) {
    for (index, api) in (0_usize..).zip(&raw.apis) {
        let Ok(path) = Prefix::parse(&api.listen_path) else { continue };
        if api.use_keyless || api.internal || api.domain.is_empty() {
            continue;
        }
        // Of the APIs for any host, the one with the longest path answers.
        let mut answering: Option<(usize, usize, &raw::Api)> = None;
        for (other, any) in (0_usize..).zip(&raw.apis).filter(|(_, api)| api.domain.is_empty() && !api.internal) {
            let Ok(prefix) = Prefix::parse(&any.listen_path) else { continue };
            let length = prefix.decoded().len();
            if prefix.serves(path.decoded()) && answering.is_none_or(|(longest, ..)| length > longest) {
                answering = Some((length, other, any));
            }
        }
        let place = member(&item("apis", index), "domain");
        let advice = format!("add an API for {:?} without a domain", api.listen_path);
        match answering {
            Some((_, other, any)) if any.use_keyless => warnings.add(
                place,
                format!(
                    "requests for other hosts than {:?} need no key: the keyless API apis[{other}] ({:?}) answers them; \
                     {advice}",
                    api.domain, any.api_id
                ),
            ),
            None if raw.unmatched != "refuse" => warnings.add(
                place,
                format!(
                    "requests for other hosts than {:?} pass unchecked: set unmatched to refuse, or {advice}",
                    api.domain
                ),
            ),
            _ => {}
        }
    }
}
