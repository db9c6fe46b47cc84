//! The providers. To add one, write its file and add it to the list at the end.

use serde::{Deserialize, Serialize};

use super::{EmailMessage, MailRequest, ProviderAnswer, ProviderVerdict, Settings, mailgun, mandrill, sendgrid, ses};
use crate::base::UnixMillis;
use crate::delivery::Target;

/// An account with a provider: enough for any VM to send an email, whatever its configuration, and to judge the answer.
pub trait MailProvider: Sized {
    /// Tyk's code for the provider.
    const CODE: &'static str;
    /// The settings that it knows.
    const SETTINGS: &'static [&'static str];

    /// An account from its settings; `None` where one is missing or wrong.
    fn read(settings: &mut Settings<'_>) -> Option<Self>;

    /// Where every request goes.
    fn target(&self) -> &Target;

    /// The request that hands over an email. It lacks what [`MailProvider::sign`] adds.
    fn request(&self, letter: &EmailMessage) -> MailRequest;

    /// The headers that an attempt which begins `now` has beside those of the request. `headers` are those of
    /// [`MailRequest::request_headers`], with the pseudo-headers.
    fn sign(&self, _headers: &[(String, String)], _body: &[u8], _now: UnixMillis) -> Vec<(String, String)> {
        Vec::new()
    }

    /// What an answer that came `now` means.
    fn judge(answer: &ProviderAnswer<'_>, now: UnixMillis) -> ProviderVerdict;
}

macro_rules! providers {
    ($($module:ident::$name:ident),* $(,)?) => {
        /// A provider.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Provider {
            $($name,)*
        }

        /// An account with one of them.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum Account {
            $($name($module::$name),)*
        }

        impl Provider {
            /// All of them.
            pub const ALL: &[Provider] = &[$(Provider::$name),*];

            /// Tyk's code for it.
            pub fn code(self) -> &'static str {
                match self { $(Provider::$name => $module::$name::CODE,)* }
            }

            /// The settings that it knows.
            pub fn settings(self) -> &'static [&'static str] {
                match self { $(Provider::$name => $module::$name::SETTINGS,)* }
            }

            /// An account from its settings; `None` where one is missing or wrong.
            pub fn read(self, settings: &mut Settings<'_>) -> Option<Account> {
                match self { $(Provider::$name => $module::$name::read(settings).map(Account::$name),)* }
            }

            /// What an answer that came `now` means.
            pub fn judge(self, answer: &ProviderAnswer<'_>, now: UnixMillis) -> ProviderVerdict {
                match self { $(Provider::$name => $module::$name::judge(answer, now),)* }
            }
        }

        impl Account {
            /// Whose it is.
            pub fn provider(&self) -> Provider {
                match self { $(Account::$name(_) => Provider::$name,)* }
            }

            /// See [`MailProvider::target`].
            pub fn target(&self) -> &Target {
                match self { $(Account::$name(account) => account.target(),)* }
            }

            /// See [`MailProvider::request`].
            pub fn request(&self, letter: &EmailMessage) -> MailRequest {
                match self { $(Account::$name(account) => account.request(letter),)* }
            }

            /// See [`MailProvider::sign`].
            pub fn sign(&self, headers: &[(String, String)], body: &[u8], now: UnixMillis) -> Vec<(String, String)> {
                match self { $(Account::$name(account) => account.sign(headers, body, now),)* }
            }
        }
    };
}

impl Provider {
    /// The one of that code, in any case of letters.
    pub fn from_code(code: &str) -> Option<Self> {
        Provider::ALL.iter().copied().find(|provider| provider.code().eq_ignore_ascii_case(code))
    }
}

impl Account {
    /// What an answer that came `now` means.
    pub fn judge(&self, answer: &ProviderAnswer<'_>, now: UnixMillis) -> ProviderVerdict {
        self.provider().judge(answer, now)
    }
}

providers! { mandrill::Mandrill, sendgrid::SendGrid, mailgun::Mailgun, ses::AmazonSes }
