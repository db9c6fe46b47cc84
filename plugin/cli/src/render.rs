//! `tollbell render`.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use host_shim::command::load;
use tollbell_core::UnixMillis;
use tollbell_core::preview::{Outcome, PreviewError, Previewed, Request, Wanted};

use crate::plugins::previews;

/// The options of `render`.
#[derive(Debug, Args)]
pub struct Render {
    /// The Envoy configuration, YAML or JSON
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// The event, such as TriggerExceeded or key_event.add
    #[arg(long, value_name = "NAME")]
    event: String,
    /// A field of the event and its value, such as Meta.Key=k1 or data.key_id=k1; other fields have sample values
    #[arg(long = "set", value_name = "FIELD=VALUE", value_parser = field)]
    fields: Vec<(String, String)>,
    /// Only the handler with this name, or with this name in brackets at its end [default: all handlers of the event]
    #[arg(long, value_name = "NAME")]
    handler: Option<String>,
}

fn field(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write a field, an equals sign and a value: Meta.Key=k1")?;
    Ok((name.to_owned(), value.to_owned()))
}

impl Render {
    /// Prints the message of each handler. Returns whether all can be made.
    ///
    /// # Errors
    /// The configuration has an error, or the event, a field or the handler does not exist.
    pub fn execute(&self) -> Result<bool> {
        let bootstrap = load(&self.config)?.bootstrap;
        let wanted = Wanted { event: self.event.clone(), fields: self.fields.clone(), handler: self.handler.clone() };
        let now = now()?;
        let (mut found, mut missing) = (Vec::new(), None);
        for preview in previews(&bootstrap)? {
            match preview.messages(&wanted, now) {
                Ok(messages) => found.extend(messages),
                // Another filter of the file may have the handler.
                Err(error @ PreviewError::UnknownHandler { .. }) => missing = Some(error),
                Err(error) => return Err(error.into()),
            }
        }
        if let (true, Some(error)) = (found.is_empty(), missing) {
            return Err(error.into());
        }
        if found.is_empty() {
            bail!("no handler is notified of {}", self.event);
        }
        let texts: Vec<String> = found.iter().map(text).collect();
        print!("{}", texts.join("\n"));
        Ok(!found.iter().any(|previewed| matches!(previewed.outcome, Outcome::Failed(_))))
    }
}

#[expect(clippy::disallowed_methods, reason = "a command has no host that gives it the time")]
fn now() -> Result<UnixMillis> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
    Ok(UnixMillis(u64::try_from(since.as_millis())?))
}

fn text(previewed: &Previewed) -> String {
    let handler = &previewed.handler;
    match &previewed.outcome {
        Outcome::Request(request) => format!("# {handler}, by cluster {}\n{}", request.cluster, request_text(request)),
        Outcome::Log => format!("# {handler}: writes one line to Envoy's log, and sends nothing\n"),
        Outcome::NoRecipient => format!("# {handler}: sends nothing: the event names no recipient\n"),
        Outcome::Failed(error) => format!("# {handler}: cannot be written: {error}\n"),
    }
}

/// The request in the form of HTTP/1.1.
fn request_text(request: &Request) -> String {
    let pseudo = |wanted: &str| {
        let found = request.headers.iter().find(|(name, _)| name == wanted);
        found.map(|(_, value)| value.as_str()).unwrap_or_default()
    };
    let mut text = format!("{} {} HTTP/1.1\nhost: {}\n", pseudo(":method"), pseudo(":path"), pseudo(":authority"));
    for (name, value) in request.headers.iter().filter(|(name, _)| !name.starts_with(':')) {
        text.push_str(&format!("{name}: {value}\n"));
    }
    if !request.body.is_empty() {
        let body = String::from_utf8_lossy(&request.body);
        text.push_str(&format!("\n{body}{}", if body.ends_with('\n') { "" } else { "\n" }));
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_request_is_text() {
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let headers = vec![
            header(":method", "POST"),
            header(":path", "/in?x=1"),
            header(":authority", "a.test"),
            header(":scheme", "https"),
            header("content-type", "application/json"),
        ];
        let request = Request { cluster: "c".to_owned(), headers, body: b"{}".to_vec() };
        let previewed = Previewed { handler: "webhooks[crm]".to_owned(), outcome: Outcome::Request(request) };
        assert_eq!(
            text(&previewed),
            "# webhooks[crm], by cluster c\nPOST /in?x=1 HTTP/1.1\nhost: a.test\ncontent-type: application/json\n\n{}\n"
        );
    }

    #[test]
    fn a_field_has_a_value() {
        assert_eq!(field("Meta.Key=a=b").unwrap(), ("Meta.Key".to_owned(), "a=b".to_owned()));
        assert!(field("Meta.Key").is_err());
    }
}
