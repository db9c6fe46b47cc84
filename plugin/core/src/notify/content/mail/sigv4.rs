//! AWS [Signature Version 4][1] for any service except S3, which treats paths differently.
//!
//! [1]: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html

use std::collections::BTreeMap;

use hmac_sha256::HMAC;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use sha2::{Digest, Sha256};

use crate::base::{UnixMillis, datetime};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const END: &str = "aws4_request";
const DATE: &str = "x-amz-date";

/// The characters that AWS calls unreserved are not encoded.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The signer, and the service and region.
pub(super) struct Credentials<'c> {
    pub(super) access_key_id: &'c str,
    pub(super) secret_access_key: &'c str,
    pub(super) region: &'c str,
    pub(super) service: &'c str,
}

/// The parts of a request that are signed.
pub(super) struct UnsignedRequest<'r> {
    pub(super) method: &'r str,
    /// The path and query as sent.
    pub(super) path_and_query: &'r str,
    /// The headers to sign, without `x-amz-date`; `host` must be among them. A name that occurs twice has both values.
    pub(super) headers: &'r [(&'r str, &'r str)],
    pub(super) body: &'r [u8],
}

impl Credentials<'_> {
    /// The headers that sign a request sent at `now`: `x-amz-date` and `authorization`. `None` past the year 9999.
    pub(super) fn sign(&self, request: &UnsignedRequest<'_>, now: UnixMillis) -> Option<Vec<(String, String)>> {
        let stamp = datetime::basic_iso8601(now.0)?;
        let day = stamp.get(..8)?;
        let (canonical, signed_headers) = request.canonical(&stamp);
        let scope = format!("{day}/{}/{}/{END}", self.region, self.service);
        let to_sign = format!("{ALGORITHM}\n{stamp}\n{scope}\n{}", hex::encode(Sha256::digest(canonical)));
        let signature = hex::encode(HMAC::mac(to_sign, self.signing_key(day)));
        let authorization = format!(
            "{ALGORITHM} Credential={}/{scope}, SignedHeaders={signed_headers}, Signature={signature}",
            self.access_key_id
        );
        Some(vec![(DATE.to_owned(), stamp), ("authorization".to_owned(), authorization)])
    }

    /// The key for one day, region and service.
    fn signing_key(&self, day: &str) -> [u8; 32] {
        let secret = HMAC::mac(day, format!("AWS4{}", self.secret_access_key));
        [self.region, self.service, END].into_iter().fold(secret, |key, part| HMAC::mac(part, key))
    }
}

impl UnsignedRequest<'_> {
    /// The canonical request, and the names of its headers.
    fn canonical(&self, stamp: &str) -> (String, String) {
        let (path, query) = self.path_and_query.split_once('?').unwrap_or((self.path_and_query, ""));
        let mut headers: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in self.headers.iter().copied().chain([(DATE, stamp)]) {
            let value = value.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
            let values = headers.entry(name.to_ascii_lowercase());
            values.and_modify(|values| values.push_str(&format!(",{value}"))).or_insert_with(|| value.clone());
        }
        let names = headers.keys().map(String::as_str).collect::<Vec<_>>().join(";");
        let lines: String = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let canonical = format!(
            "{}\n{}\n{}\n{lines}\n{names}\n{}",
            self.method,
            canonical_path(path),
            canonical_query(query),
            hex::encode(Sha256::digest(self.body))
        );
        (canonical, names)
    }
}

fn encode(bytes: &[u8]) -> String {
    percent_encode(bytes, RESERVED).to_string()
}

/// Removes empty, `.` and `..` segments, and encodes the path. For every service except S3, a path that is sent encoded
/// is encoded again.
fn canonical_path(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            _ => segments.push(segment),
        }
    }
    let joined: String = segments.iter().map(|segment| format!("/{}", encode(segment.as_bytes()))).collect();
    // A slash at the end stays. An empty path becomes a slash.
    if path.ends_with('/') || joined.is_empty() { format!("{joined}/") } else { joined }
}

/// The parameters, ordered by their encoded names, then by values.
fn canonical_query(query: &str) -> String {
    let again = |text: &str| encode(&percent_decode_str(text).collect::<Vec<u8>>());
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (again(name), again(value)))
        .collect();
    pairs.sort();
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests;
