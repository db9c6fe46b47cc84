//! Makes what the module embeds: of the JSON Schema, everything that is checked, without the words for people; the
//! scripts of the store; and the status page with its policy.

use std::env;
use std::error::Error;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::DeflateEncoder;
use serde_json::{Map, Value};
use sha1::{Digest, Sha1};
use sha2::Sha256;

const SCHEMA: &str = "../../envoy/tollbell.schema.json";

/// Keywords that nothing is checked by.
const FOR_PEOPLE: [&str; 8] =
    ["$schema", "title", "description", "default", "format", "examples", "allOf", "propertyNames"];

/// Keywords whose members are schemas by name.
const NAMED_SCHEMAS: [&str; 2] = ["$defs", "properties"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={SCHEMA}");
    let mut schema: Value = serde_json::from_str(&fs::read_to_string(SCHEMA)?)?;
    strip(&mut schema);
    for script in ["lease", "emit", "end", "tally", "beat", "fetch"] {
        embed_script(script)?;
    }
    embed_page()?;
    compress("schema.deflate", &schema.to_string())
}

fn compress(name: &str, text: &str) -> Result<(), Box<dyn Error>> {
    let file = File::create(Path::new(&env::var("OUT_DIR")?).join(name))?;
    let mut compressed = DeflateEncoder::new(file, Compression::best());
    compressed.write_all(text.as_bytes())?;
    compressed.finish()?;
    Ok(())
}

/// Makes one file of the status page, and its policy, which allows only its own script and style.
fn embed_page() -> Result<(), Box<dyn Error>> {
    let part = |ending: &str| -> Result<String, Box<dyn Error>> {
        let source = format!("src/admin/page/page.{ending}");
        println!("cargo::rerun-if-changed={source}");
        let text = fs::read_to_string(source)?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//"));
        Ok(lines.collect::<Vec<_>>().join("\n"))
    };
    let (style, script) = (part("css")?, part("js")?);
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text));
    let policy = format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
        hash(&script),
        hash(&style)
    );
    fs::write(Path::new(&env::var("OUT_DIR")?).join("page.csp"), policy)?;
    let page = part("html")?.replace("<style></style>", &format!("<style>{style}</style>"));
    compress("page.deflate", &page.replace("<script></script>", &format!("<script>{script}</script>")))
}

/// Removes comments and indentation from a script of the store, and computes the SHA-1 by which the store knows it.
fn embed_script(name: &str) -> Result<(), Box<dyn Error>> {
    let source = format!("src/store/{name}.lua");
    println!("cargo::rerun-if-changed={source}");
    let text = fs::read_to_string(source)?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("--"));
    let text = lines.collect::<Vec<_>>().join("\n");
    let out = env::var("OUT_DIR")?;
    let sha1: String = Sha1::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect();
    fs::write(Path::new(&out).join(format!("{name}.lua")), text)?;
    fs::write(Path::new(&out).join(format!("{name}.sha1")), sha1)?;
    Ok(())
}

fn strip(schema: &mut Value) {
    match schema {
        Value::Object(keywords) => strip_keywords(keywords),
        Value::Array(schemas) => schemas.iter_mut().for_each(strip),
        _ => {}
    }
}

fn strip_keywords(keywords: &mut Map<String, Value>) {
    keywords.retain(|name, _| !FOR_PEOPLE.contains(&name.as_str()));
    for (name, value) in keywords {
        match value {
            Value::Object(named) if NAMED_SCHEMAS.contains(&name.as_str()) => named.values_mut().for_each(strip),
            _ => strip(value),
        }
    }
}
