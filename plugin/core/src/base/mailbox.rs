//! E-mail addresses and display names. A checked value can end neither a header nor an address list.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::base::text::cut;

/// Length limits in bytes: the part before the @, the part after it, and the whole address ([RFC 5321, 4.5.3.1], as
/// corrected by its erratum 1690).
///
/// [RFC 5321, 4.5.3.1]: https://www.rfc-editor.org/rfc/rfc5321#section-4.5.3.1
const MAX_LOCAL: usize = 64;
const MAX_DOMAIN: usize = 255;
const MAX_ADDRESS: usize = 254;

/// Maximum bytes of one label of a domain (RFC 1035, 2.3.4).
const MAX_LABEL: usize = 63;

/// Maximum bytes of a display name.
const MAX_NAME: usize = 200;

/// Why an address was refused. The error does not repeat the address.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum AddressError {
    #[error("has no @")]
    NoAt,
    #[error("has more than one @")]
    SeveralAts,
    /// A space, a line break, NUL or another control character.
    #[error("has a space or a control character")]
    Blank,
    #[error("has characters other than ASCII: Amazon SES takes none before the @, and a domain is written as xn--…")]
    NotAscii,
    /// The part before the @ is not a dot-atom.
    #[error("its part before the @ is not letters, digits and !#$%&'*+-/=?^_`{{|}}~ with single dots between them")]
    Local,
    /// The part after the @ is not a host name with a dot.
    #[error("its part after the @ is not a domain such as example.com")]
    Domain,
    #[error("is too long: 64 bytes before the @, 255 after it, and 254 together are allowed")]
    TooLong,
}

/// An e-mail address, `local@domain`: a dot-atom and a host name with at least one dot.
///
/// Quoted local parts (`"a b"@example.com`) and address literals (`a@[192.0.2.1]`) are legal but refused: they are
/// hardly used, and each provider reads them differently. Only ASCII is accepted, because Amazon SES has no SMTPUTF8.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Address(String);

impl Address {
    /// Parses an address without a display name. White space around it is not removed.
    ///
    /// # Errors
    /// [`AddressError`] says why the text is not an address.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(AddressError::Blank);
        }
        let (local, domain) = text.split_once('@').ok_or(AddressError::NoAt)?;
        if domain.contains('@') {
            return Err(AddressError::SeveralAts);
        }
        if !text.is_ascii() {
            return Err(AddressError::NotAscii);
        }
        if local.len() > MAX_LOCAL || domain.len() > MAX_DOMAIN || text.len() > MAX_ADDRESS {
            return Err(AddressError::TooLong);
        }
        if !local.split('.').all(is_atom) {
            return Err(AddressError::Local);
        }
        if !is_domain(domain) {
            return Err(AddressError::Domain);
        }
        Ok(Address(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Address {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        Address::parse(&text)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// RFC 5322's `atom`, without comments.
fn is_atom(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c))
}

/// True for a host name of at least two labels. A label has letters, digits and inner hyphens.
pub fn is_domain(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=MAX_LABEL).contains(&label.len())
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= MAX_DOMAIN && text.contains('.') && text.split('.').all(is_label)
}

/// Why a name was refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum NameError {
    /// The name has a line break, NUL or another control character, or a character that changes the writing direction.
    #[error("has a line break or another control character")]
    Control,
    #[error("is longer than {MAX_NAME} bytes")]
    TooLong,
}

/// A display name beside an address: one line of text, never empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Name(String);

impl Name {
    /// Parses text that an operator wrote. Returns `None` for white space alone.
    ///
    /// # Errors
    /// The name has control characters or is longer than 200 bytes.
    pub fn parse(text: &str) -> Result<Option<Self>, NameError> {
        let text = text.trim();
        if text.chars().any(breaks_a_line) {
            return Err(NameError::Control);
        }
        if text.len() > MAX_NAME {
            return Err(NameError::TooLong);
        }
        Ok((!text.is_empty()).then(|| Name(text.to_owned())))
    }

    /// Makes a name from text of an event. Control characters and runs of white space become a space, and the name is
    /// cut at its maximum length. Returns `None` if nothing is left.
    pub fn lossy(text: &str) -> Option<Self> {
        let line = one_line(text);
        let name = cut(&line, MAX_NAME).trim_end();
        (!name.is_empty()).then(|| Name(name.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form for a header: a quoted string, or encoded-words ([RFC 2047]) if the name is not ASCII, as Amazon SES
    /// requires. Neither form has a character that could end it.
    ///
    /// [RFC 2047]: https://www.rfc-editor.org/rfc/rfc2047
    fn in_header(&self) -> String {
        /// An encoded-word has at most 75 characters. 45 bytes of text in base64 fit into it.
        const MAX_WORD: usize = 45;
        if self.0.is_ascii() {
            return format!("\"{}\"", self.0.replace('\\', "\\\\").replace('"', "\\\""));
        }
        let mut words = Vec::new();
        let mut rest = self.0.as_str();
        while !rest.is_empty() {
            let word = cut(rest, MAX_WORD);
            words.push(format!("=?UTF-8?B?{}?=", STANDARD.encode(word)));
            rest = rest.get(word.len()..).unwrap_or_default();
        }
        words.join(" ")
    }
}

/// Replaces line breaks, other control characters and runs of white space by one space each.
pub fn one_line(text: &str) -> String {
    let words = text.split(|c: char| breaks_a_line(c) || c.is_whitespace()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

/// True for control characters, Unicode's line breaks, and characters that change the writing direction. The latter
/// could make a reader see a different address.
fn breaks_a_line(c: char) -> bool {
    let is_break = c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    is_break || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// An address with an optional display name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mailbox {
    pub address: Address,
    pub name: Option<Name>,
}

impl Mailbox {
    /// The form for a header of an email: `local@domain`, or `"Name" <local@domain>`. ASCII only.
    pub fn in_header(&self) -> String {
        match &self.name {
            Some(name) => format!("{} <{}>", name.in_header(), self.address),
            None => self.address.to_string(),
        }
    }
}

impl From<Address> for Mailbox {
    fn from(address: Address) -> Self {
        Mailbox { address, name: None }
    }
}

#[cfg(test)]
mod tests;
