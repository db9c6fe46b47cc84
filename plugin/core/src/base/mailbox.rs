//! Addresses and the names beside them: what stands in one can end neither a header nor an address list.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::base::text::cut;

/// Octets of the part before the @, of the part behind it, and of both ([RFC 5321, 4.5.3.1], as corrected by its
/// erratum 1690).
///
/// [RFC 5321, 4.5.3.1]: https://www.rfc-editor.org/rfc/rfc5321#section-4.5.3.1
const MAX_LOCAL: usize = 64;
const MAX_DOMAIN: usize = 255;
const MAX_ADDRESS: usize = 254;

/// Octets of one label of a domain (RFC 1035, 2.3.4).
const MAX_LABEL: usize = 63;

/// Octets of a name beside an address.
const MAX_NAME: usize = 200;

/// Why an address was refused. It does not repeat the address.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum AddressError {
    /// No @.
    #[error("has no @")]
    NoAt,
    /// Several of them.
    #[error("has more than one @")]
    SeveralAts,
    /// A space, a line break, NUL or another control character.
    #[error("has a space or a control character")]
    Blank,
    /// Not ASCII.
    #[error("has characters other than ASCII: Amazon SES takes none before the @, and a domain is written as xn--…")]
    NotAscii,
    /// The part before the @ is no dot-atom.
    #[error("its part before the @ is not letters, digits and !#$%&'*+-/=?^_`{{|}}~ with single dots between them")]
    Local,
    /// The part behind the @ is no host name with a dot.
    #[error("its part behind the @ is not a domain such as example.com")]
    Domain,
    /// Too long.
    #[error("is too long: 64 bytes before the @, 255 behind it, and 254 together are allowed")]
    TooLong,
}

/// An e-mail address, `local@domain`: a dot-atom and a host name with at least one dot.
///
/// Quoted local parts (`"a b"@example.com`) and address literals (`a@[192.0.2.1]`) are legal and refused: nobody has
/// one, and each provider reads them differently. ASCII only, since Amazon SES has no SMTPUTF8.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Address(String);

impl Address {
    /// From an address without a name; white space around it is not taken off.
    ///
    /// # Errors
    /// When it is none, see [`AddressError`].
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

    /// As it was written.
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

/// A host name of at least two labels: letters, digits and inner hyphens.
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
    /// A line break, NUL or another control character, or one that turns the direction of writing.
    #[error("has a line break or another control character")]
    Control,
    /// Too long.
    #[error("is longer than {MAX_NAME} bytes")]
    TooLong,
}

/// What stands beside an address: one line of text, never empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Name(String);

impl Name {
    /// From text that an operator wrote. `None` for nothing but white space.
    ///
    /// # Errors
    /// When it has control characters, or is longer than 200 bytes.
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

    /// From text that an event brought: control characters and runs of white space become a space, and what is too long
    /// is cut. `None` when nothing is left.
    pub fn lossy(text: &str) -> Option<Self> {
        let line = one_line(text);
        let name = cut(&line, MAX_NAME).trim_end();
        (!name.is_empty()).then(|| Name(name.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// For a header: quoted, or where it is not ASCII in encoded-words ([RFC 2047]), as Amazon SES asks for. Neither
    /// form has a character that could end it.
    ///
    /// [RFC 2047]: https://www.rfc-editor.org/rfc/rfc2047
    fn in_header(&self) -> String {
        /// An encoded-word has at most 75 characters, so that 45 bytes of text fit into its base64.
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

/// Text without line breaks and other control characters: they and runs of white space become one space.
pub fn one_line(text: &str) -> String {
    let words = text.split(|c: char| breaks_a_line(c) || c.is_whitespace()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

/// Control characters, Unicode's own line breaks, and what turns the direction of writing: it would show an address
/// that is none.
fn breaks_a_line(c: char) -> bool {
    let is_break = c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    is_break || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// An address and perhaps a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mailbox {
    /// The address.
    pub address: Address,
    /// Whose it is.
    pub name: Option<Name>,
}

impl Mailbox {
    /// As in a header of a message: `local@domain`, or `"Name" <local@domain>`. ASCII only.
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
