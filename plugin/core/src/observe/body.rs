//! Reads a body up to a size limit: JSON or a form.
//!
//! The content-type, the content-encoding and the bytes decide what a body is. A body that cannot be read with
//! certainty is not read; the result says why.

mod multipart;
mod pool;

pub use pool::BodyPool;

use std::io::Read;

use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use serde_json::Value;

use self::pool::Pooled;
use super::exchange::BodyView;
use crate::access::decode_query_part;

/// A body after reading.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Body {
    /// JSON.
    Json(Value),
    /// A form: names and values in their order. Files of a multipart form are left out.
    Form(Vec<(String, String)>),
    /// No body.
    #[default]
    None,
    /// The body cannot be read. The text says why, without any of the body's content.
    Unreadable(String),
}

impl Body {
    /// The form in which rules use the body.
    pub fn view(&self) -> BodyView<'_> {
        match self {
            Body::Json(value) => BodyView::Json(value),
            Body::Form(fields) => BodyView::Form(fields),
            Body::None => BodyView::None,
            Body::Unreadable(reason) => BodyView::Unreadable(reason),
        }
    }
}

/// Collects the body of one direction.
#[derive(Debug)]
pub struct Collector {
    form: Form,
    encoding: Encoding,
    limit: usize,
    bytes: Pooled,
    /// The reason why no more of the body is collected.
    given_up: Option<String>,
}

#[derive(Debug)]
enum Form {
    Json,
    /// An urlencoded form, or JSON: curl sends a form's content type unless it is given another.
    UrlEncoded,
    Multipart(Vec<u8>),
    /// JSON, if the bytes are.
    Unsaid,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    Identity,
    Gzip,
    Deflate,
}

impl Collector {
    /// Starts a body with these headers. `limit` is the maximum size in bytes, both as sent and decompressed.
    pub fn new(content_type: Option<&str>, content_encoding: Option<&str>, limit: usize, pool: &BodyPool) -> Self {
        let form = Form::of(content_type.unwrap_or_default());
        let encoding = Encoding::of(content_encoding.unwrap_or_default());
        let (form, encoding, given_up) = match (form, encoding) {
            (Ok(form), Ok(encoding)) => (form, encoding, None),
            (Err(reason), _) | (Ok(_), Err(reason)) => (Form::Unsaid, Encoding::Identity, Some(reason)),
        };
        Collector { form, encoding, limit, bytes: pool.begin(), given_up }
    }

    /// True if more of the body is useful.
    pub fn wants_more(&self) -> bool {
        self.given_up.is_none()
    }

    /// Takes the next part. If the body exceeds the limit, all of it is dropped.
    pub fn push(&mut self, chunk: &[u8]) {
        if self.given_up.is_some() {
            return;
        }
        if self.bytes.len().is_some_and(|len| len.saturating_add(chunk.len()) > self.limit) {
            self.bytes.take();
            self.given_up = Some(format!("larger than {} bytes", self.limit));
        } else if !self.bytes.push(chunk) {
            self.given_up = Some(pushed_out());
        }
    }

    /// Returns the complete body.
    pub fn finish(self) -> Body {
        if let Some(reason) = self.given_up {
            return Body::Unreadable(reason);
        }
        let Some(bytes) = self.bytes.take() else { return Body::Unreadable(pushed_out()) };
        if bytes.is_empty() {
            return Body::None;
        }
        let read = decode(self.encoding, bytes, self.limit).and_then(|bytes| self.form.read(&bytes));
        read.unwrap_or_else(Body::Unreadable)
    }
}

fn pushed_out() -> String {
    format!("all bodies that were being read took more than {} MiB, and this was the oldest", pool::MAX_BYTES >> 20)
}

impl Form {
    /// # Errors
    /// The type that the body has instead.
    fn of(content_type: &str) -> Result<Self, String> {
        let mut parts = multipart::parameters(content_type);
        let essence = parts.next().map(|(essence, _)| essence.to_ascii_lowercase()).unwrap_or_default();
        match essence.as_str() {
            "" | "text/plain" => Ok(Form::Unsaid),
            "application/x-www-form-urlencoded" => Ok(Form::UrlEncoded),
            "multipart/form-data" => {
                let boundary = parts.find(|(name, _)| name.eq_ignore_ascii_case("boundary")).map(|(_, value)| value);
                let boundary = boundary.filter(|boundary| (1..=70).contains(&boundary.len()));
                boundary
                    .map(|boundary| Form::Multipart(boundary.into_bytes()))
                    .ok_or_else(|| "a multipart form without a boundary".to_owned())
            }
            "application/json" | "text/json" => Ok(Form::Json),
            json if json.ends_with("+json") => Ok(Form::Json),
            other if is_token(other) => Err(format!("of the type {other}")),
            _ => Err("of an invalid type".to_owned()),
        }
    }

    fn read(&self, bytes: &[u8]) -> Result<Body, String> {
        // A body that is empty after decompression counts as no body, too.
        if bytes.is_empty() {
            return Ok(Body::None);
        }
        match self {
            Form::Json => crate::base::json::parse(bytes).map(Body::Json).map_err(|_| "not JSON".to_owned()),
            Form::Unsaid => {
                compound(bytes).map(Body::Json).ok_or_else(|| "not JSON, and without a content type".to_owned())
            }
            Form::UrlEncoded => match compound(bytes) {
                Some(value) => Ok(Body::Json(value)),
                None => url_encoded(bytes).map(Body::Form),
            },
            Form::Multipart(boundary) => {
                multipart::read(boundary, bytes).map(Body::Form).map_err(|why| format!("not a multipart form: {why}"))
            }
        }
    }
}

/// JSON that is an object or a list, which cannot be confused with other formats.
fn compound(bytes: &[u8]) -> Option<Value> {
    let first = bytes.trim_ascii_start().first()?;
    if matches!(first, b'{' | b'[') { crate::base::json::parse(bytes).ok() } else { None }
}

fn url_encoded(bytes: &[u8]) -> Result<Vec<(String, String)>, String> {
    let text = |part: &[u8]| {
        String::from_utf8(decode_query_part(part).into_owned()).map_err(|_| "a form that is not UTF-8".to_owned())
    };
    let pairs = bytes.split(|&byte| byte == b'&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = crate::access::request::split_once(pair, b'=').unwrap_or((pair, b""));
            Ok((text(name)?, text(value)?))
        })
        .collect()
}

impl Encoding {
    /// # Errors
    /// The compression that the body has instead.
    fn of(content_encoding: &str) -> Result<Self, String> {
        let named: Vec<String> = content_encoding
            .split(',')
            .map(|name| name.trim().to_ascii_lowercase())
            .filter(|name| !name.is_empty() && name != "identity")
            .collect();
        match named.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            [] => Ok(Encoding::Identity),
            ["gzip" | "x-gzip"] => Ok(Encoding::Gzip),
            ["deflate"] => Ok(Encoding::Deflate),
            [other] if is_token(other) => Err(format!("compressed with {other}")),
            [_] => Err("compressed with an invalid encoding".to_owned()),
            _ => Err("compressed more than once".to_owned()),
        }
    }
}

fn decode(encoding: Encoding, bytes: Vec<u8>, limit: usize) -> Result<Vec<u8>, String> {
    match encoding {
        Encoding::Identity => Ok(bytes),
        Encoding::Gzip => bounded(&mut MultiGzDecoder::new(bytes.as_slice()), limit, "gzip"),
        // The specification says zlib's format; some servers send raw deflate.
        Encoding::Deflate if is_zlib(&bytes) => bounded(&mut ZlibDecoder::new(bytes.as_slice()), limit, "deflate"),
        Encoding::Deflate => bounded(&mut DeflateDecoder::new(bytes.as_slice()), limit, "deflate"),
    }
}

/// Checks the two bytes of zlib's header: the method, and a number that is divisible by 31.
fn is_zlib(bytes: &[u8]) -> bool {
    match bytes {
        [method, flags, ..] => method & 0x0f == 8 && u16::from_be_bytes([*method, *flags]).is_multiple_of(31),
        _ => false,
    }
}

fn bounded(decoder: &mut dyn Read, limit: usize, name: &str) -> Result<Vec<u8>, String> {
    let mut decoded = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    decoder
        .take(most)
        .read_to_end(&mut decoded)
        .map_err(|_| format!("not {name}, although its content-encoding says so"))?;
    if decoded.len() > limit { Err(format!("larger than {limit} bytes, decompressed")) } else { Ok(decoded) }
}

/// True for a short name of a type or an encoding, which may be shown.
fn is_token(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '+' | '.' | '_');
    text.len() <= 64 && text.chars().all(is_plain)
}
