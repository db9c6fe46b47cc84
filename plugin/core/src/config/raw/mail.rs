//! E-mail: Tyk's `email_backend`, and letters.

use std::fmt;

use super::Named;

settings! {
    /// The account with an e-mail provider, whose HTTP API takes letters.
    #[derive(Clone)]
    pub struct EmailBackend {
        /// Switches e-mail on.
        pub enable_email_notifications: bool,
        /// The provider: mandrill, sendgrid, mailgun or amazonses. There is no smtp: a proxy's filter can only speak HTTP.
        pub code: String,
        /// What the provider asks for. mandrill: ClientKey. sendgrid: ClientKey, Region. mailgun: Domain, PrivateKey,
        /// PublicKey (not used), Region. amazonses: Region, AccessKeyId, SecretAccessKey, CharSet (UTF-8 by default).
        /// Region is eu or us, and for amazonses one of AWS's, which need not be given where Endpoint tells it. Endpoint,
        /// for each of them, is the URL that stands before the API's own path, such as that of a proxy; without a scheme it
        /// is https.
        pub settings: Named<String>,
        /// The sender's address.
        pub default_from_email: String,
        /// The sender's name.
        pub default_from_name: String,
        /// As Tyk writes it; not used.
        pub dashboard_hostname: String,
        /// The developer concerned is notified of sign-ups, of accounts that are switched on or off, of key requests, and of
        /// thresholds of their quota, at their own address.
        pub notify_users: bool = true,
        /// The cool-down of letters to developers in seconds; 0 for none.
        #[schemars(range(min = 0, max = 315_360_000))]
        pub event_timeout: u64,
    }
}

impl fmt::Debug for EmailBackend {
    /// Without the settings' values, which are secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmailBackend")
            .field("enable_email_notifications", &self.enable_email_notifications)
            .field("code", &self.code)
            .field("settings", &self.settings.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

settings! {
    /// A letter: Handlebars or a Go template for each of its parts. A part that is not given stays the built-in one; a text
    /// without HTML is sent without HTML.
    #[derive(Clone, Debug)]
    pub struct EmailTemplate {
        /// What it is about; one line.
        pub subject: String,
        /// Plain text.
        pub text: String,
        /// HTML: values are escaped for it.
        pub html: String,
    }
}
