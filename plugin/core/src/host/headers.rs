//! Headers in the form in which a host passes them.

use smallvec::SmallVec;

/// A header's name and value. Envoy's names are in lower case; other hosts keep the client's case.
pub type HeaderPair<'r> = (&'r [u8], &'r [u8]);

/// A list of header pairs. Most requests fit into it without an allocation.
pub type HeaderPairs<'r> = SmallVec<[HeaderPair<'r>; 32]>;

/// Serialized headers: a count, then the lengths of names and values, then the names and values, each with a NUL after
/// it. Numbers are 32-bit little endian.
#[derive(Clone, Debug, Default)]
pub struct Headers(pub Vec<u8>);

impl Headers {
    /// Returns names and values in their order. A truncated pair ends the list.
    pub fn pairs(&self) -> HeaderPairs<'_> {
        let mut pairs = HeaderPairs::new();
        let Some((count, rest)) = self.0.split_first_chunk::<4>() else { return pairs };
        let count = u32::from_le_bytes(*count) as usize;
        let Some((lengths, mut data)) = rest.split_at_checked(count.saturating_mul(8)) else { return pairs };
        pairs.reserve_exact(count);
        for length in lengths.chunks_exact(8) {
            let (Some(name), Some(value)) = (length.first_chunk::<4>(), length.last_chunk::<4>()) else { return pairs };
            let mut take = |len: &[u8; 4]| {
                let (taken, rest) = data.split_at_checked(u32::from_le_bytes(*len) as usize)?;
                data = rest.get(1..)?;
                Some(taken)
            };
            let (Some(name), Some(value)) = (take(name), take(value)) else { return pairs };
            pairs.push((name, value));
        }
        pairs
    }

    #[allow(clippy::cast_possible_truncation)]
    /// Serializes header pairs.
    pub fn serialize<'h>(pairs: impl Iterator<Item = HeaderPair<'h>> + Clone) -> Self {
        let mut bytes = (pairs.clone().count() as u32).to_le_bytes().to_vec();
        for (name, value) in pairs.clone() {
            bytes.extend_from_slice(&(name.len() as u32).to_le_bytes());
            bytes.extend_from_slice(&(value.len() as u32).to_le_bytes());
        }
        for part in pairs.flat_map(|(name, value)| [name, value]) {
            bytes.extend_from_slice(part);
            bytes.push(0);
        }
        Headers(bytes)
    }
}

/// True if `header`, in any case, is `name`, which is in lower case.
pub fn is_header(header: &[u8], name: &str) -> bool {
    header == name.as_bytes() || header.eq_ignore_ascii_case(name.as_bytes())
}

/// A change to the request's headers before the request goes upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderChange {
    /// Removes the header.
    Remove(String),
    /// Gives the header another value.
    Replace(String, Vec<u8>),
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    proptest! {
        #[test]
        fn serialized_headers_are_read_back(pairs in prop::collection::vec((any::<Vec<u8>>(), any::<Vec<u8>>()), 0..9)) {
            let pairs: Vec<HeaderPair<'_>> = pairs.iter().map(|(name, value)| (name.as_slice(), value.as_slice())).collect();
            let headers = Headers::serialize(pairs.iter().copied());
            prop_assert_eq!(headers.pairs().to_vec(), pairs);
        }

        #[test]
        fn any_bytes_can_be_read_as_headers(bytes in any::<Vec<u8>>()) {
            let _ = Headers(bytes).pairs();
        }
    }
}
