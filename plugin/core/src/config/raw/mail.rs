//! E-mail: Tyk's `email_backend`, and email templates.

use std::fmt;

use super::Named;

settings! {
    /// The account with an e-mail provider. Emails are sent through the provider's HTTP API.
    #[derive(Clone)]
    pub struct EmailBackend {
        /// Switches e-mail on.
        pub enable_email_notifications: bool,
        /// The provider: mandrill, sendgrid, mailgun or amazonses. smtp is not available, because a proxy's filter can
        /// only use HTTP.
        pub code: String,
        /// The settings of the provider. mandrill: ClientKey. sendgrid: ClientKey, Region. mailgun: Domain, PrivateKey,
        /// PublicKey (not used), Region. amazonses: Region, AccessKeyId, SecretAccessKey, CharSet (UTF-8 by default).
        /// Region is eu or us; for amazonses it is a region of AWS, and can be left out if Endpoint contains it. Every
        /// provider has Endpoint: the URL before the API's own path, such as that of a proxy. Without a scheme it is
        /// https.
        pub settings: Named<String>,
        /// The sender's address.
        pub default_from_email: String,
        /// The sender's name.
        pub default_from_name: String,
        /// As in Tyk; not used.
        pub dashboard_hostname: String,
        /// Notifies the developer concerned of sign-ups, activated and deactivated accounts, key requests, and
        /// thresholds of their quota, at their own address.
        pub notify_users: bool = true,
        /// The cool-down of emails to developers in seconds; 0 for none.
        #[schemars(range(min = 0, max = 315_360_000))]
        pub event_timeout: u64,
    }
}

impl fmt::Debug for EmailBackend {
    /// The form for log lines, without the values of the settings, which are secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmailBackend")
            .field("enable_email_notifications", &self.enable_email_notifications)
            .field("code", &self.code)
            .field("settings", &self.settings.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

settings! {
    /// An email: a Handlebars or Go template for each part. A part that is left out stays the built-in one. If there is
    /// a text but no HTML, the email is sent without HTML.
    #[derive(Clone, Debug)]
    pub struct EmailTemplate {
        /// The subject; one line.
        pub subject: String,
        /// The plain text.
        pub text: String,
        /// The HTML. Values are escaped for HTML.
        pub html: String,
    }
}
