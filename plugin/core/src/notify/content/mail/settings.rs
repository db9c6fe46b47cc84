//! The settings of a provider, as its file reads them. They may be secrets, so no error shows a value.

use super::secret::Secret;
use crate::delivery::Target;

/// `email_backend.settings`, with the errors found so far.
pub struct Settings<'c> {
    /// The value of a setting; `None` if it is missing or empty.
    pub value_of: &'c dyn Fn(&str) -> Option<&'c str>,
    /// True if a missing setting is an error.
    pub is_required: bool,
    /// The target of a URL; `None` if the URL is invalid.
    pub target_of: &'c dyn Fn(&str) -> Option<Target>,
    /// The host of a URL.
    pub host_of: &'c dyn Fn(&str) -> Option<String>,
    /// Names of settings, each with its error.
    pub errors: Vec<(String, String)>,
}

impl<'c> Settings<'c> {
    /// Adds an error.
    pub fn error(&mut self, name: &str, message: impl Into<String>) {
        self.errors.push((name.to_owned(), message.into()));
    }

    /// The value of a setting. An empty value counts as missing.
    pub fn given(&self, name: &str) -> Option<&'c str> {
        (self.value_of)(name)
    }

    /// The value of a required setting.
    pub fn needed(&mut self, name: &str) -> Option<&'c str> {
        let value = self.given(name);
        if value.is_none() && self.is_required {
            self.error(name, "missing");
        }
        value
    }

    /// A provider's key. It must be valid in a header.
    pub fn key(&mut self, name: &str) -> Option<Secret> {
        let value = self.needed(name)?;
        if value.chars().all(|c| c.is_ascii_graphic()) {
            return Some(Secret::new(value));
        }
        self.error(name, "has characters that no key has, such as a space or a line break at its end");
        None
    }

    /// The URL of the API in the United States or in the EU.
    pub fn us_or_eu(&mut self, us: &'static str, eu: &'static str) -> &'static str {
        let Some(region) = self.given("Region") else { return us };
        if self.given("Endpoint").is_some() {
            self.error("Region", "give either this or Endpoint");
        }
        match region.to_ascii_lowercase().as_str() {
            "eu" => return eu,
            "us" => {}
            _ => self.error("Region", "is not one of us, eu"),
        }
        us
    }

    /// The host of `Endpoint`.
    pub fn endpoint_host(&self) -> Option<String> {
        (self.host_of)(&with_scheme(self.given("Endpoint")?))
    }

    /// The target of the API's `path`, below `Endpoint` or else below `base`.
    pub fn target(&mut self, base: &str, path: &str) -> Option<Target> {
        let endpoint = self.given("Endpoint").map(with_scheme);
        if endpoint.as_ref().is_some_and(|url| url.contains(['?', '#', '@'])) {
            self.error(
                "Endpoint",
                "has a query or a user; only scheme, host, port and the beginning of a path are allowed",
            );
            return None;
        }
        let base = endpoint.as_deref().unwrap_or(base).trim_end_matches('/');
        let target = (self.target_of)(&format!("{base}{path}"));
        if target.is_none() {
            self.error("Endpoint", "is not an absolute http or https URL");
        }
        target
    }
}

/// Tyk's Endpoint needs a scheme in some versions and must not have one in others.
fn with_scheme(endpoint: &str) -> String {
    if endpoint.contains("://") { endpoint.to_owned() } else { format!("https://{endpoint}") }
}
