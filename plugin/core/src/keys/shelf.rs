//! Fetched sessions in shared data, where every VM finds them: one VM fetches for all.
//!
//! ```text
//! lease    = version u8 = 1, vm u64, until u64                     little endian
//! head     = version u8 = 1, generation u64, chunks u32, entity tag
//! chunk    = version u8 = 1, generation u64, JSON object of sessions
//! ```
//! Two generations have chunks of their own in turn, so that one is whole while the next is being written.

use crate::ports::{Metrics, SharedData};
use crate::store::{Change, CorruptRecord, StoreError, read, update};
use crate::units::{UnixMillis, fingerprint};

const VERSION: u8 = 1;

/// How long a VM fetches for the others without renewing that.
const LEASE_MS: u64 = 3000;

/// How much later than others a VM takes the lease that has requests to serve: what it fetches it copies in one go.
const PATIENCE_MS: u64 = 2000;

/// What is on the shelf.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    /// Counts the documents; 0 for none.
    pub(super) generation: u64,
    /// How many chunks it has.
    pub(super) chunks: u32,
    /// Its entity tag; empty for none.
    pub(super) etag: String,
}

/// The shelf for the sessions of one URL.
#[derive(Debug)]
pub(super) struct Shelf(String);

impl Shelf {
    pub(super) fn new(url: [&str; 3]) -> Self {
        Shelf(format!("tb1/f/{:x}", fingerprint(&url)))
    }

    /// Takes or renews the lease; `false` where another VM has it, or should.
    pub(super) fn lead(
        &self,
        host: &(impl SharedData + Metrics),
        vm: u64,
        is_serving: bool,
        now: UnixMillis,
    ) -> Result<bool, StoreError> {
        update(host, &format!("{}/l", self.0), |stored| {
            let (holder, until) =
                match stored.as_deref().map(|bytes| numbers(bytes, "lease of the keys")).transpose()? {
                    Some((holder, rest)) => (Some(holder), UnixMillis(rest.try_into().map_or(0, u64::from_le_bytes))),
                    None => (None, UnixMillis(0)),
                };
            // A lease from a clock that has been set back since is over.
            let is_over = until <= now || until.since(now) > LEASE_MS;
            let is_mine = holder == Some(vm) && !is_serving;
            let waits = is_serving && holder.is_some() && until <= now && until.plus(PATIENCE_MS) > now;
            if !is_mine && (!is_over || waits) {
                return Ok(Change::Keep(holder == Some(vm) && !is_over));
            }
            let until = now.plus(LEASE_MS).0.to_le_bytes();
            Ok(Change::Write([&[VERSION][..], &vm.to_le_bytes(), &until].concat(), true))
        })
    }

    pub(super) fn head(&self, host: &impl SharedData) -> Result<Head, StoreError> {
        Ok(read(host, &self.head_key())?.map(|bytes| decode_head(&bytes)).transpose()?.unwrap_or_default())
    }

    /// Shows a document whose chunks have been put there, unless somebody else has shown another since.
    pub(super) fn show(&self, host: &(impl SharedData + Metrics), head: &Head) -> Result<bool, StoreError> {
        update(host, &self.head_key(), |stored| {
            let known = stored.map(|bytes| decode_head(&bytes)).transpose()?.unwrap_or_default();
            if known.generation >= head.generation {
                return Ok(Change::Keep(false));
            }
            let numbers = [&head.generation.to_le_bytes()[..], &head.chunks.to_le_bytes()].concat();
            Ok(Change::Write([&[VERSION][..], &numbers, head.etag.as_bytes()].concat(), true))
        })
    }

    pub(super) fn put(
        &self,
        host: &impl SharedData,
        generation: u64,
        place: u32,
        text: &str,
    ) -> Result<(), StoreError> {
        let bytes = [&[VERSION][..], &generation.to_le_bytes(), text.as_bytes()].concat();
        Ok(host.put(&self.chunk_key(generation, place), &bytes)?)
    }

    /// A chunk; `None` where it is not of that generation any more.
    pub(super) fn chunk(
        &self,
        host: &impl SharedData,
        generation: u64,
        place: u32,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(bytes) = read(host, &self.chunk_key(generation, place))? else { return Ok(None) };
        let (found, text) = numbers(&bytes, "chunk of keys")?;
        Ok((found == generation).then(|| text.to_vec()))
    }

    fn head_key(&self) -> String {
        format!("{}/h", self.0)
    }

    fn chunk_key(&self, generation: u64, place: u32) -> String {
        format!("{}/{}/{place}", self.0, generation % 2)
    }
}

fn decode_head(bytes: &[u8]) -> Result<Head, CorruptRecord> {
    let corrupt = CorruptRecord { record: "head of the keys", len: bytes.len() };
    let (generation, rest) = numbers(bytes, corrupt.record)?;
    let (chunks, etag) = rest.split_first_chunk().ok_or(corrupt)?;
    let etag = String::from_utf8(etag.to_vec()).map_err(|_| corrupt)?;
    Ok(Head { generation, chunks: u32::from_le_bytes(*chunks), etag })
}

/// The first number behind the version, and the rest.
fn numbers<'b>(bytes: &'b [u8], record: &'static str) -> Result<(u64, &'b [u8]), CorruptRecord> {
    let corrupt = CorruptRecord { record, len: bytes.len() };
    let rest = bytes.strip_prefix(&[VERSION]).ok_or(corrupt)?;
    let (number, rest) = rest.split_first_chunk().ok_or(corrupt)?;
    Ok((u64::from_le_bytes(*number), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::MemoryHost;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn a_vm_without_requests_fetches_for_all() {
        let (host, shelf) = (MemoryHost::default(), Shelf::new(["http", "keys.test", "/"]));
        let lead = |vm, is_serving, now| shelf.lead(&host, vm, is_serving, UnixMillis(now)).unwrap();
        assert!(lead(1, true, 1000), "the first is the first");
        assert!(lead(1, true, 3999) && !lead(2, false, 3999), "to the end of its lease");
        assert!(!lead(1, true, 4000) && lead(2, false, 4000), "which it leaves to one that is free");
        assert!(lead(2, false, 6000) && lead(2, false, 8000), "and that one keeps it");
        assert!(!lead(1, true, 11_000) && !lead(3, true, 12_999));
        assert!(lead(3, true, 13_000), "until it is gone");
        assert!(lead(4, false, 5), "a clock may be set back");
    }

    #[test]
    fn a_document_is_whole_or_not_there() {
        let (host, shelf) = (MemoryHost::default(), Shelf::new(["http", "keys.test", "/"]));
        let head = |generation, chunks| Head { generation, chunks, etag: "t".into() };
        assert_eq!(shelf.head(&host).unwrap(), Head::default());
        shelf.put(&host, 1, 0, "{}").unwrap();
        assert!(shelf.show(&host, &head(1, 1)).unwrap() && !shelf.show(&host, &head(1, 9)).unwrap());
        shelf.put(&host, 2, 0, "{\"a\":{}}").unwrap();
        assert_eq!(shelf.head(&host).unwrap(), head(1, 1));
        assert_eq!(shelf.chunk(&host, 1, 0).unwrap(), Some(b"{}".to_vec()), "while the next is written");
        assert!(shelf.show(&host, &head(2, 1)).unwrap());
        shelf.put(&host, 3, 0, "{}").unwrap();
        assert_eq!(shelf.chunk(&host, 1, 0).unwrap(), None);
        assert_eq!(shelf.chunk(&host, 1, 1).unwrap(), None);
        host.put(&shelf.head_key(), b"foreign").unwrap();
        assert!(shelf.head(&host).is_err());
    }
}
