//! The places of API keys in a request: how a key is found and removed.
//!
//! A client can repeat a header line, a parameter and a cookie, and an upstream may read another occurrence than this
//! filter. So all occurrences count: a place with two different keys has no valid key, and every occurrence is
//! stripped.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::access::request::{Request, decode_query_part, split_once};
use crate::host::HeaderChange;

/// The places where a key may be. If several places have a key, the cookie wins over the parameter, and the parameter
/// over the header, as in Tyk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyLocation {
    /// The header, lower case.
    pub header: String,
    /// The query parameter.
    pub parameter: Option<String>,
    /// The cookie.
    pub cookie: Option<String>,
}

/// A kind of place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyPlace {
    /// A cookie, in any of the `Cookie` lines.
    Cookie,
    /// A parameter of the query.
    Parameter,
    /// A header.
    Header,
}

/// A key that a request carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundKey<'r> {
    /// The key without `Bearer`; never empty.
    pub key: Cow<'r, [u8]>,
    pub place: KeyPlace,
    /// True if the same place has another key, too.
    pub is_ambiguous: bool,
}

impl<'r> FoundKey<'r> {
    fn among(place: KeyPlace, values: impl Iterator<Item = Cow<'r, [u8]>>) -> Option<Self> {
        let mut keys = values.map(without_bearer).filter(|key| !key.is_empty());
        let key = keys.next()?;
        let is_ambiguous = keys.any(|other| other != key);
        Some(FoundKey { key, place, is_ambiguous })
    }
}

impl KeyLocation {
    /// Finds the key that a request carries.
    pub fn find<'r>(&self, request: &Request<'r>) -> Option<FoundKey<'r>> {
        let cookie = self.cookie.as_deref().and_then(|name| FoundKey::among(KeyPlace::Cookie, cookies(request, name)));
        let parameter = || {
            let name = self.parameter.as_deref()?;
            FoundKey::among(KeyPlace::Parameter, parameters(request, name))
        };
        let header = || {
            let lines = request.lines(&self.header).map(|(_, value)| Cow::Borrowed(value));
            FoundKey::among(KeyPlace::Header, lines)
        };
        cookie.or_else(parameter).or_else(header)
    }

    /// The configured name of a place; `None` if keys are not in this kind of place.
    pub fn name(&self, place: KeyPlace) -> Option<&str> {
        match place {
            KeyPlace::Cookie => self.cookie.as_deref(),
            KeyPlace::Parameter => self.parameter.as_deref(),
            KeyPlace::Header => Some(&self.header),
        }
    }

    /// The changes that remove the key from every configured place, and nothing else.
    pub fn strip(&self, request: &Request<'_>) -> Vec<HeaderChange> {
        let mut changes = Vec::new();
        request.remove_all(&self.header, &mut changes);
        if let Some((name, query)) = self.parameter.as_deref().zip(request.query()) {
            let is_named = |pair: &&[u8]| is_parameter(pair, name);
            if query.split(|&byte| byte == b'&').any(|pair| is_named(&pair)) {
                let kept: Vec<&[u8]> = query.split(|&byte| byte == b'&').filter(|pair| !is_named(pair)).collect();
                let separator: &[u8] = if kept.is_empty() { b"" } else { b"?" };
                let target = [request.path(), separator, &kept.join(&b"&"[..])].concat();
                changes.push(HeaderChange::Replace(":path".into(), target));
            }
        }
        if let Some(name) = self.cookie.as_deref() {
            strip_cookie(request, name, &mut changes);
        }
        changes
    }
}

/// Removes one cookie. The others stay as they were sent, joined in one line, because HTTP/1 allows only one.
fn strip_cookie(request: &Request<'_>, name: &str, changes: &mut Vec<HeaderChange>) {
    let is_named = |pair: &&[u8]| cookie_name(pair) == name.as_bytes();
    let pairs = |line: &'_ [u8]| line.split(|&byte| byte == b';').filter(is_named).count();
    let (lines, found) = request.lines("cookie").fold((0_usize, 0_usize), |(lines, found), (_, line)| {
        (lines.saturating_add(1), found.saturating_add(pairs(line)))
    });
    let Some((spelling, _)) = request.lines("cookie").next().filter(|_| found > 0) else { return };
    let kept = request.lines("cookie").map(|(_, line)| {
        let kept: Vec<&[u8]> = line.split(|&byte| byte == b';').filter(|pair| !is_named(pair)).collect();
        kept.join(&b";"[..]).trim_ascii().to_vec()
    });
    let kept = kept.filter(|line| !line.is_empty()).collect::<Vec<_>>().join(&b"; "[..]);
    if kept.is_empty() || lines > 1 {
        request.remove_all("cookie", changes);
    }
    if !kept.is_empty() {
        changes.push(HeaderChange::Replace(String::from_utf8_lossy(spelling).into_owned(), kept));
    }
}

/// Removes `Bearer` as Tyk does, with blanks around the key. `Bearer` alone stays, as a key that does not exist.
fn without_bearer(value: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    fn key(value: &[u8]) -> &[u8] {
        let value = value.trim_ascii();
        match value.split_at_checked(7) {
            Some((scheme, key)) if scheme.eq_ignore_ascii_case(b"Bearer ") => key.trim_ascii(),
            _ => value,
        }
    }
    match value {
        Cow::Borrowed(value) => Cow::Borrowed(key(value)),
        Cow::Owned(value) => Cow::Owned(key(&value).to_vec()),
    }
}

fn parameters<'r>(request: &Request<'r>, name: &str) -> impl Iterator<Item = Cow<'r, [u8]>> {
    let pairs = request.query().unwrap_or_default().split(|&byte| byte == b'&');
    pairs
        .filter(move |pair| is_parameter(pair, name))
        .filter_map(|pair| split_once(pair, b'=').map(|(_, value)| decode_query_part(value)))
}

fn is_parameter(pair: &[u8], name: &str) -> bool {
    let key = split_once(pair, b'=').map_or(pair, |(key, _)| key);
    decode_query_part(key).as_ref() == name.as_bytes()
}

fn cookies<'r>(request: &Request<'r>, name: &str) -> impl Iterator<Item = Cow<'r, [u8]>> {
    let pairs = request.lines("cookie").flat_map(|(_, line)| line.split(|&byte| byte == b';'));
    pairs
        .filter(move |pair| cookie_name(pair) == name.as_bytes())
        .filter_map(|pair| split_once(pair, b'=').map(|(_, value)| Cow::Borrowed(without_quotes(value.trim_ascii()))))
}

fn cookie_name(pair: &[u8]) -> &[u8] {
    split_once(pair, b'=').map_or(pair, |(name, _)| name).trim_ascii()
}

fn without_quotes(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(value)
}

#[cfg(test)]
mod tests;
