//! `tollbell init`.

use std::fs::OpenOptions;
use std::io::{BufRead, IsTerminal as _, Write, stderr, stdin, stdout};
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use tollbell_core::KeyHash;

use crate::key::random;

/// The file to write, with names in capitals for what differs.
const TEMPLATE: &str = include_str!("init.yaml");

const UPSTREAM: &str = "127.0.0.1:8080";
const WEBHOOK: &str = "http://127.0.0.1:10002/alerts";
const QUOTA: &str = "1000/hour";

/// The options of `init`.
#[derive(Debug, Args)]
pub struct Init {
    /// The address of the API behind Envoy: a host and a port
    #[arg(long, value_name = "HOST:PORT")]
    upstream: Option<String>,
    /// The URL that gets alerts
    #[arg(long, value_name = "URL")]
    webhook: Option<String>,
    /// The quota of the first key, such as 1000/hour: requests per second, minute, hour, day or week
    #[arg(long, value_name = "REQUESTS/UNIT")]
    quota: Option<String>,
    /// The file to write
    #[arg(short, long, value_name = "FILE", default_value = "envoy.yaml")]
    out: PathBuf,
    /// Replace the file if it exists
    #[arg(long)]
    force: bool,
}

impl Init {
    /// Asks for what the options do not say, if a person can answer, and writes the file.
    ///
    /// # Errors
    /// An answer is not valid, or the file exists or cannot be written.
    pub fn execute(&self) -> Result<()> {
        // A person should not answer first and learn then that the file exists.
        if !self.force && self.out.exists() {
            bail!("{} exists: name another file with --out, or use --force", self.out.display());
        }
        let can_ask = stdin().is_terminal() && stderr().is_terminal();
        let ask = |given: &Option<String>, question: &str, otherwise: &str| match given {
            Some(given) => Ok(given.clone()),
            None if can_ask => answer(&mut stdin().lock(), &mut stderr(), question, otherwise),
            None => Ok(otherwise.to_owned()),
        };
        let upstream = Upstream::parse(&ask(&self.upstream, "Where is the API that Envoy protects?", UPSTREAM)?)?;
        let webhook = webhook(&ask(&self.webhook, "Which URL gets alerts?", WEBHOOK)?)?;
        let quota = Quota::parse(&ask(&self.quota, "How much may a key use?", QUOTA)?)?;
        let key = random()?;
        let text = text(&upstream, &webhook, &quota, &key)?;
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).create_new(!self.force);
        let name = self.out.display();
        let mut file = options.open(&self.out).with_context(|| format!("cannot write {name}"))?;
        file.write_all(text.as_bytes()).with_context(|| format!("cannot write {name}"))?;
        writeln!(
            stdout(),
            "{name} is written.\n\nA key, shown only now: {key}\n\nCheck it, run it without Envoy, and send a request:\n\
             \n  tollbell check --config {name}\n  tollbell run --config {name}\n  curl -H 'Authorization: {key}' http://127.0.0.1:10000/"
        )?;
        Ok(())
    }
}

/// Asks a question. An empty answer is the proposal.
fn answer(input: &mut impl BufRead, output: &mut impl Write, question: &str, proposal: &str) -> Result<String> {
    write!(output, "{question} [{proposal}] ")?;
    output.flush()?;
    let mut line = String::new();
    input.read_line(&mut line).context("cannot read the answer")?;
    let line = line.trim();
    Ok(if line.is_empty() { proposal } else { line }.to_owned())
}

/// The host and port of an API.
#[derive(Debug, PartialEq, Eq)]
struct Upstream {
    host: String,
    port: u16,
    is_address: bool,
}

impl Upstream {
    fn parse(text: &str) -> Result<Self> {
        let fault = || format!("{text:?} is not a host and a port, such as {UPSTREAM}");
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Upstream { host: address.ip().to_string(), port: address.port(), is_address: true });
        }
        let (host, port) = text.rsplit_once(':').with_context(fault)?;
        let is_name =
            !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
        let port = port.parse().ok().filter(|port| is_name && *port > 0).with_context(fault)?;
        Ok(Upstream { host: host.to_owned(), port, is_address: false })
    }
}

/// The module checks URLs further. Here it is only the usual slip.
fn webhook(text: &str) -> Result<String> {
    if !text.starts_with("http://") && !text.starts_with("https://") || text.contains(char::is_whitespace) {
        bail!("{text:?} is not a URL that begins with http:// or https://");
    }
    Ok(text.to_owned())
}

#[derive(Debug, PartialEq, Eq)]
struct Quota {
    requests: u32,
    seconds: u32,
}

impl Quota {
    fn parse(text: &str) -> Result<Self> {
        let fault =
            || format!("{text:?} is not a number of requests per second, minute, hour, day or week, such as {QUOTA}");
        let (requests, unit) = text.split_once('/').with_context(fault)?;
        let seconds = match unit.trim() {
            "s" | "second" => 1,
            "m" | "minute" => 60,
            "h" | "hour" => 3600,
            "d" | "day" => 86_400,
            "w" | "week" => 604_800,
            _ => bail!(fault()),
        };
        let requests = requests.trim().parse().ok().filter(|requests| *requests > 0).with_context(fault)?;
        Ok(Quota { requests, seconds })
    }
}

fn text(upstream: &Upstream, webhook: &str, quota: &Quota, key: &str) -> Result<String> {
    let kind = if upstream.is_address { "STATIC" } else { "STRICT_DNS" };
    // A JSON string is valid YAML.
    Ok(TEMPLATE
        .replace("UPSTREAM_TYPE", kind)
        .replace("UPSTREAM_HOST", &serde_json::to_string(&upstream.host)?)
        .replace("UPSTREAM_PORT", &upstream.port.to_string())
        .replace("QUOTA_MAX", &quota.requests.to_string())
        .replace("QUOTA_SECONDS", &quota.seconds.to_string())
        .replace("KEY_HASH", &KeyHash::of(key.as_bytes()).fingerprint())
        .replace("WEBHOOK", &serde_json::to_string(webhook)?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn answers_are_checked() {
        let upstream = |host: &str, port, is_address| Upstream { host: host.to_owned(), port, is_address };
        assert_eq!(Upstream::parse("10.0.0.1:80").unwrap(), upstream("10.0.0.1", 80, true));
        assert_eq!(Upstream::parse("[::1]:80").unwrap(), upstream("::1", 80, true));
        assert_eq!(Upstream::parse("api.internal:8080").unwrap(), upstream("api.internal", 8080, false));
        assert_eq!(Quota::parse("10 / minute").unwrap(), Quota { requests: 10, seconds: 60 });
        for wrong in ["", "api", ":80", "api:0", "a b:80", "api:99999", "http://a:80"] {
            assert!(Upstream::parse(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "10", "0/day", "-1/day", "10/fortnight", "x/day"] {
            assert!(Quota::parse(wrong).is_err(), "{wrong}");
        }
        assert!(webhook("hooks.example.com/x").is_err() && webhook("https://a.test/x").is_ok());
    }

    #[test]
    fn an_empty_answer_is_the_proposal() {
        let mut asked = Vec::new();
        let mut ask = |input: &str| answer(&mut input.as_bytes(), &mut asked, "Where?", "here").unwrap();
        assert_eq!([ask("\n"), ask(" there \n"), ask("")], ["here", "there", "here"]);
        assert!(asked.starts_with(b"Where? [here] "));
    }
}
