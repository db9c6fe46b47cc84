//! The providers. To add one, write its file and add it to the list at the end.

use serde::{Deserialize, Serialize};

use super::{EmailMessage, MailRequest, ProviderAnswer, ProviderVerdict, Settings, mailgun, mandrill, sendgrid, ses};
use crate::base::UnixMillis;
use crate::delivery::Target;

/// An account with a provider. Any VM can send an email with it and judge the answer, whatever its configuration is.
pub trait MailProvider: Sized {
    /// Tyk's code for the provider.
    const CODE: &'static str;
    /// The names of the provider's settings.
    const SETTINGS: &'static [&'static str];

    /// Reads an account from its settings; `None` if one is missing or wrong.
    fn read(settings: &mut Settings<'_>) -> Option<Self>;

    /// The target of all requests.
    fn target(&self) -> &Target;

    /// The request that passes an email to the provider, without the headers of [`MailProvider::sign`].
    fn request(&self, email: &EmailMessage) -> MailRequest;

    /// The additional headers of an attempt that begins at `now`. `headers` are those of
    /// [`MailRequest::request_headers`], with the pseudo-headers.
    fn sign(&self, _headers: &[(String, String)], _body: &[u8], _now: UnixMillis) -> Vec<(String, String)> {
        Vec::new()
    }

    /// Judges an answer that came at `now`.
    fn judge(answer: &ProviderAnswer<'_>, now: UnixMillis) -> ProviderVerdict;
}

macro_rules! providers {
    ($($module:ident::$name:ident),* $(,)?) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Provider {
            $($name,)*
        }

        /// An account with any provider.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum Account {
            $($name($module::$name),)*
        }

        impl Provider {
            pub const ALL: &[Provider] = &[$(Provider::$name),*];

            /// Tyk's code for the provider.
            pub fn code(self) -> &'static str {
                match self { $(Provider::$name => $module::$name::CODE,)* }
            }

            /// The names of its settings.
            pub fn settings(self) -> &'static [&'static str] {
                match self { $(Provider::$name => $module::$name::SETTINGS,)* }
            }

            /// Reads an account from its settings; `None` if one is missing or wrong.
            pub fn read(self, settings: &mut Settings<'_>) -> Option<Account> {
                match self { $(Provider::$name => $module::$name::read(settings).map(Account::$name),)* }
            }

            /// Judges an answer that came at `now`.
            pub fn judge(self, answer: &ProviderAnswer<'_>, now: UnixMillis) -> ProviderVerdict {
                match self { $(Provider::$name => $module::$name::judge(answer, now),)* }
            }
        }

        impl Account {
            /// The provider of the account.
            pub fn provider(&self) -> Provider {
                match self { $(Account::$name(_) => Provider::$name,)* }
            }

            /// See [`MailProvider::target`].
            pub fn target(&self) -> &Target {
                match self { $(Account::$name(account) => account.target(),)* }
            }

            /// See [`MailProvider::request`].
            pub fn request(&self, email: &EmailMessage) -> MailRequest {
                match self { $(Account::$name(account) => account.request(email),)* }
            }

            /// See [`MailProvider::sign`].
            pub fn sign(&self, headers: &[(String, String)], body: &[u8], now: UnixMillis) -> Vec<(String, String)> {
                match self { $(Account::$name(account) => account.sign(headers, body, now),)* }
            }
        }
    };
}

impl Provider {
    /// The provider with this code, in any case.
    pub fn from_code(code: &str) -> Option<Self> {
        Provider::ALL.iter().copied().find(|provider| provider.code().eq_ignore_ascii_case(code))
    }
}

impl Account {
    /// Judges an answer that came at `now`.
    pub fn judge(&self, answer: &ProviderAnswer<'_>, now: UnixMillis) -> ProviderVerdict {
        self.provider().judge(answer, now)
    }
}

providers! { mandrill::Mandrill, sendgrid::SendGrid, mailgun::Mailgun, ses::AmazonSes }
