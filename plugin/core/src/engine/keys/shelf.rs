//! Fetched sessions in shared data. One VM fetches for all, and every VM reads them there.
//!
//! ```text
//! lease    = version u8 = 1, vm u64, until u64                     little endian
//! head     = version u8 = 1, generation u64, edition u64, checksum u64, chunks u32, entity tag
//! chunk    = version u8 = 1, edition u64, JSON object of sessions
//! ```
//! Two generations use two sets of chunks in turn, so one is complete while the next is being written. An edition is
//! one VM's copy of one answer: if two VMs ever write at once, the editions distinguish their chunks.

use crate::base::{UnixMillis, fingerprint, is_leased};
use crate::host::{Change, CorruptRecord, Metrics, SharedData, StoreError, read, update};

const VERSION: u8 = 1;

/// How long a VM may fetch for the others without renewing the lease.
const LEASE_MS: u64 = 3000;

/// How much later than others a VM with requests takes the lease, because it copies the fetched document in one step.
const PATIENCE_MS: u64 = 2000;

/// The document on the shelf.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    /// The number of the document; 0 for none.
    pub(super) generation: u64,
    /// The edition of its chunks.
    pub(super) edition: u64,
    /// The checksum of the document's text; 0 if it must be fetched again.
    pub(super) checksum: u64,
    /// The number of its chunks.
    pub(super) chunks: u32,
    /// Its entity tag; empty for none.
    pub(super) etag: String,
}

/// The shelf for the sessions of one URL.
#[derive(Debug)]
pub(super) struct Shelf(String);

impl Shelf {
    /// `parts` are all settings that decide what is fetched. Two configurations share a shelf only if these are equal.
    pub(super) fn new(parts: &[&str]) -> Self {
        Shelf(format!("tb1/f/{:x}", fingerprint(parts)))
    }

    /// Gives up the lease: another VM may be able to use the document.
    pub(super) fn give_up(&self, host: &(impl SharedData + Metrics), vm: u64) -> Result<(), StoreError> {
        update(host, &format!("{}/l", self.0), |stored| {
            let holder = stored.as_deref().map(|bytes| numbers(bytes, "lease of the keys")).transpose()?;
            if holder.is_none_or(|(holder, _)| holder != vm) {
                return Ok(Change::Keep(()));
            }
            Ok(Change::Write([&[VERSION][..], &vm.to_le_bytes(), &0_u64.to_le_bytes()].concat(), ()))
        })
    }

    /// Takes or renews the lease; `false` if another VM has it, or should have it.
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
            let is_over = !is_leased(until, LEASE_MS, now);
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

    /// Publishes a document whose chunks are complete, unless another VM has published one since.
    pub(super) fn show(&self, host: &(impl SharedData + Metrics), head: &Head) -> Result<bool, StoreError> {
        update(host, &self.head_key(), |stored| {
            let known = stored.map(|bytes| decode_head(&bytes)).transpose()?.unwrap_or_default();
            if known.generation >= head.generation {
                return Ok(Change::Keep(false));
            }
            Ok(Change::Write(head.encode(), true))
        })
    }

    /// Records that a chunk is missing, so that the document is fetched again, whatever its entity tag is.
    pub(super) fn report_damage(&self, host: &(impl SharedData + Metrics), head: &Head) -> Result<(), StoreError> {
        update(host, &self.head_key(), |stored| {
            let known = stored.map(|bytes| decode_head(&bytes)).transpose()?.unwrap_or_default();
            if known.edition != head.edition || known.checksum == 0 {
                return Ok(Change::Keep(()));
            }
            Ok(Change::Write(Head { checksum: 0, etag: String::new(), ..known }.encode(), ()))
        })
    }

    pub(super) fn put(&self, host: &impl SharedData, head: &Head, place: u32, text: &str) -> Result<(), StoreError> {
        let bytes = [&[VERSION][..], &head.edition.to_le_bytes(), text.as_bytes()].concat();
        Ok(host.put(&self.chunk_key(head.generation, place), &bytes)?)
    }

    /// A chunk; `None` if it belongs to another edition.
    pub(super) fn chunk(&self, host: &impl SharedData, head: &Head, place: u32) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(bytes) = read(host, &self.chunk_key(head.generation, place))? else { return Ok(None) };
        let (found, text) = numbers(&bytes, "chunk of keys")?;
        Ok((found == head.edition).then(|| text.to_vec()))
    }

    fn head_key(&self) -> String {
        format!("{}/h", self.0)
    }

    fn chunk_key(&self, generation: u64, place: u32) -> String {
        format!("{}/{}/{place}", self.0, generation % 2)
    }
}

impl Head {
    fn encode(&self) -> Vec<u8> {
        let numbers = [self.generation, self.edition, self.checksum].map(u64::to_le_bytes).concat();
        [&[VERSION][..], &numbers, &self.chunks.to_le_bytes(), self.etag.as_bytes()].concat()
    }
}

fn decode_head(bytes: &[u8]) -> Result<Head, CorruptRecord> {
    let corrupt = CorruptRecord { record: "head of the keys", len: bytes.len() };
    let (generation, rest) = numbers(bytes, corrupt.record)?;
    let (edition, rest) = rest.split_first_chunk().ok_or(corrupt)?;
    let (checksum, rest) = rest.split_first_chunk().ok_or(corrupt)?;
    let (chunks, etag) = rest.split_first_chunk().ok_or(corrupt)?;
    Ok(Head {
        generation,
        edition: u64::from_le_bytes(*edition),
        checksum: u64::from_le_bytes(*checksum),
        chunks: u32::from_le_bytes(*chunks),
        etag: String::from_utf8(etag.to_vec()).map_err(|_| corrupt)?,
    })
}

/// The first number after the version, and the rest.
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
        let (host, shelf) = (MemoryHost::default(), Shelf::new(&["http", "keys.test", "/"]));
        let lead = |vm, is_serving, now| shelf.lead(&host, vm, is_serving, UnixMillis(now)).unwrap();
        assert!(lead(1, true, 1000), "the first VM takes it");
        assert!(lead(1, true, 3999) && !lead(2, false, 3999), "until its lease ends");
        assert!(!lead(1, true, 4000) && lead(2, false, 4000), "which it leaves to a VM without requests");
        assert!(lead(2, false, 6000) && lead(2, false, 8000), "and that VM keeps it");
        assert!(!lead(1, true, 11_000) && !lead(3, true, 12_999));
        assert!(lead(3, true, 13_000), "until it ends");
        assert!(lead(4, false, 5), "a clock may be set back");
        shelf.give_up(&host, 9).unwrap();
        assert!(!lead(1, false, 6), "a VM cannot give up another's lease");
        shelf.give_up(&host, 4).unwrap();
        assert!(lead(1, false, 6));
    }

    #[test]
    fn a_document_is_complete_or_not_there() {
        let (host, shelf) = (MemoryHost::default(), Shelf::new(&["http", "keys.test", "/"]));
        let head = |generation, edition| Head { generation, edition, checksum: 5, chunks: 1, etag: "t".into() };
        assert_eq!(shelf.head(&host).unwrap(), Head::default());
        shelf.put(&host, &head(1, 10), 0, "{}").unwrap();
        assert!(shelf.show(&host, &head(1, 10)).unwrap() && !shelf.show(&host, &head(1, 11)).unwrap());
        shelf.put(&host, &head(2, 20), 0, "{\"a\":{}}").unwrap();
        assert_eq!(shelf.head(&host).unwrap(), head(1, 10));
        assert_eq!(shelf.chunk(&host, &head(1, 10), 0).unwrap(), Some(b"{}".to_vec()), "while the next is written");
        assert!(shelf.show(&host, &head(2, 20)).unwrap());
        shelf.put(&host, &head(3, 30), 0, "{}").unwrap();
        assert_eq!(shelf.chunk(&host, &head(1, 10), 0).unwrap(), None);
        assert_eq!(shelf.chunk(&host, &head(2, 21), 0).unwrap(), None, "another's edition");
        shelf.report_damage(&host, &head(2, 99)).unwrap();
        assert_eq!(shelf.head(&host).unwrap(), head(2, 20), "of another edition");
        shelf.report_damage(&host, &head(2, 20)).unwrap();
        assert_eq!(shelf.head(&host).unwrap(), Head { checksum: 0, etag: String::new(), ..head(2, 20) });
        host.put(&shelf.head_key(), b"foreign").unwrap();
        assert!(shelf.head(&host).is_err());
    }
}
