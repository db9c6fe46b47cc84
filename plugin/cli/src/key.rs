//! `tollbell key`.

use std::io::{Read as _, Write as _, stdout};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Subcommand;
use tollbell_core::KeyHash;

/// The commands below `key`.
#[derive(Debug, Subcommand)]
pub enum Key {
    /// Make a key and the YAML for its entry
    ///
    /// Prints a key with 128 random bits, and an entry for keys with its hash. The key is shown only once, because the
    /// configuration contains only its hash.
    New {
        /// The organisation of the key
        #[arg(long, value_name = "ID")]
        org: Option<String>,
        /// A name for people
        #[arg(long, value_name = "NAME")]
        alias: Option<String>,
    },
    /// Print the hash of a key from standard input
    ///
    /// The hash is the name of the key's entry in keys. A line break at the end does not belong to the key.
    Hash,
}

impl Key {
    /// Prints the key or the hash.
    ///
    /// # Errors
    /// The system has no randomness, or standard input has no key.
    pub fn execute(&self) -> Result<()> {
        match self {
            Key::New { org, alias } => write!(stdout(), "{}", new(&random()?, org.as_deref(), alias.as_deref())?)?,
            Key::Hash => {
                let mut key = Vec::new();
                std::io::stdin().read_to_end(&mut key).context("cannot read standard input")?;
                writeln!(stdout(), "{}", hash(&key)?)?;
            }
        }
        Ok(())
    }
}

/// A key with 128 random bits.
pub(crate) fn random() -> Result<String> {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits).context("the system has no randomness")?;
    Ok(hex::encode(bits))
}

fn new(key: &str, org: Option<&str>, alias: Option<&str>) -> Result<String> {
    let mut entry = String::new();
    for (name, value) in [("org_id", org), ("alias", alias)] {
        if let Some(value) = value {
            // A JSON string is valid YAML.
            entry.push_str(&format!("    {name}: {}\n", serde_json::to_string(value)?));
        }
    }
    let hash = KeyHash::of(key.as_bytes()).fingerprint();
    let open = if entry.is_empty() { " {}" } else { "" };
    Ok(format!(
        "The key, shown only now: {key}\n\nThe entry for tollbell's configuration:\n\nkeys:\n  \"{hash}\":{open}\n{entry}"
    ))
}

fn hash(input: &[u8]) -> Result<String> {
    let key = input.strip_suffix(b"\n").unwrap_or(input);
    let key = key.strip_suffix(b"\r").unwrap_or(key);
    ensure!(!key.is_empty(), "standard input has no key");
    if key.contains(&b'\n') {
        bail!("standard input has more than one line, and a key is one line");
    }
    Ok(KeyHash::of(key).fingerprint())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_new_key_comes_with_its_entry() {
        let hash = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
        assert_eq!(
            new("test", None, None).unwrap(),
            format!(
                "The key, shown only now: test\n\nThe entry for tollbell's configuration:\n\nkeys:\n  \"{hash}\": {{}}\n"
            )
        );
        let entry = new("test", Some("acme"), Some("a \"b\"")).unwrap();
        assert!(
            entry.ends_with(&format!("  \"{hash}\":\n    org_id: \"acme\"\n    alias: \"a \\\"b\\\"\"\n")),
            "{entry}"
        );
        let (one, other) = (random().unwrap(), random().unwrap());
        assert!(one.len() == 32 && one != other);
    }

    #[test]
    fn the_hash_is_of_the_line_without_its_end() {
        for input in ["test", "test\n", "test\r\n"] {
            assert!(hash(input.as_bytes()).unwrap().starts_with("sha256:9f86d081"), "{input:?}");
        }
        assert!(hash(b"\n").is_err() && hash(b"a\nb\n").is_err());
    }
}
