//! An email: sender, recipient, subject and body. No part can break out of its place in the message.

use serde::{Deserialize, Serialize};

use crate::base::{Mailbox, cut, one_line};

/// Maximum bytes of a subject. It fits into one header line, which may have 998 bytes by RFC 5322, even if it is
/// encoded.
const MAX_SUBJECT: usize = 480;

/// The replacement of an empty subject. SendGrid refuses empty subjects.
const NO_SUBJECT: &str = "(no subject)";

/// One line, never empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmailSubject(String);

impl EmailSubject {
    /// Control characters, line breaks and runs of white space become one space, so that a rendered subject cannot add
    /// a header. A text longer than 480 bytes is cut, and an empty text becomes `(no subject)`.
    pub fn new(text: &str) -> Self {
        let line = one_line(text);
        let subject = cut(&line, MAX_SUBJECT).trim_end();
        EmailSubject(if subject.is_empty() { NO_SUBJECT } else { subject }.to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The body of an email, in lines; plain text or HTML.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmailBody(String);

impl EmailBody {
    /// Control characters other than line breaks and tabs are not allowed in email. They become U+FFFD.
    pub fn new(text: String) -> Self {
        let is_bad = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
        EmailBody(if text.contains(is_bad) { text.replace(is_bad, "\u{fffd}") } else { text })
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn is_blank(&self) -> bool {
        self.0.trim().is_empty()
    }
}

/// An email to one recipient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmailMessage {
    pub to: Mailbox,
    pub from: Mailbox,
    pub subject: EmailSubject,
    /// The plain text.
    pub text: EmailBody,
    /// The HTML form of the same text.
    pub html: Option<EmailBody>,
}

impl EmailMessage {
    /// The plain part. Providers refuse an empty one: it is left out if there is HTML, otherwise it is the subject.
    pub(super) fn text_part(&self) -> Option<&str> {
        match (self.text.is_blank(), self.html_part()) {
            (false, _) => Some(self.text.as_str()),
            (true, Some(_)) => None,
            (true, None) => Some(self.subject.as_str()),
        }
    }

    pub(super) fn html_part(&self) -> Option<&str> {
        self.html.as_ref().filter(|html| !html.is_blank()).map(EmailBody::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::email;
    use super::*;
    use proptest::prelude::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn a_subject_is_one_line() {
        assert_eq!(EmailSubject::new("Key\r\nBcc: x@y.test").as_str(), "Key Bcc: x@y.test");
        assert_eq!(EmailSubject::new(" a\t\u{0}b\u{2028}c \n").as_str(), "a b c");
        assert_eq!(EmailSubject::new("\r\n").as_str(), NO_SUBJECT);
        assert_eq!(EmailSubject::new(&"é".repeat(999)).as_str().len(), MAX_SUBJECT);
        assert_eq!(EmailSubject::new("a <b> \"c\" ü").as_str(), "a <b> \"c\" ü");
    }

    #[test]
    fn a_body_keeps_line_breaks_and_loses_control_characters() {
        assert_eq!(EmailBody::new("a\r\n\tb\n".into()).as_str(), "a\r\n\tb\n");
        assert_eq!(EmailBody::new("a\0b\u{1b}[2J\u{85}".into()).as_str(), "a\u{fffd}b\u{fffd}[2J\u{fffd}");
    }

    #[test]
    fn no_part_is_empty() {
        let mut email = email();
        email.text = EmailBody::new(" \n".into());
        assert_eq!(email.text_part(), None);
        assert!(email.html_part().is_some());
        email.html = Some(EmailBody::new(String::new()));
        assert_eq!((email.text_part(), email.html_part()), (Some(email.subject.as_str()), None));
    }

    proptest! {
        #[test]
        fn no_subject_has_a_line_break(text in any::<String>(), more in "[\r\n\t\u{2028} a]{0,9}") {
            let subject = EmailSubject::new(&format!("{more}{text}{more}"));
            prop_assert!(!subject.as_str().is_empty() && subject.as_str().len() <= MAX_SUBJECT);
            let breaks = subject.as_str().contains(|c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}'));
            prop_assert!(!breaks);
        }
    }
}
