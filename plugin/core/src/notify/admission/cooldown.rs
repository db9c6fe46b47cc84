//! Cool-downs: events with the same cause send one message per period.
//!
//! Claims are in a table of fixed size in shared data: [`BUCKETS`] values with up to [`CLAIMS_PER_BUCKET`] claims each.
//!
//! A claim is made by compare-and-swap before its message goes out, so only one of several concurrent workers sends. A
//! full bucket evicts its oldest claim, which is counted.

use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};

use crate::base::{UnixMillis, record};
use crate::delivery::{CauseDigest, Claim, outbox};
use crate::host::{Change, CorruptRecord, Metric, Metrics, SharedData, StoreError, read, update};

/// The number of buckets.
pub const BUCKETS: u16 = 512;

/// The number of claims in a bucket.
pub const CLAIMS_PER_BUCKET: usize = 16;

const VERSION: u8 = 2;

/// The MD5 of a webhook request in Tyk's form: the request as Go's HTTP client would write it, without the configured
/// headers.
///
/// The body counts for GET, too, although GET sends none: otherwise all events of a handler would have the same cause.
pub fn request_checksum(method: &str, path_and_query: &str, host: &str, body: &str) -> [u8; 16] {
    let mut md5 = Md5::new();
    md5.update(format!(
        "{method} {path_and_query} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: Go-http-client/1.1\r\nContent-Length: {}\r\n\r\n",
        body.len()
    ));
    md5.update(body);
    md5.finalize().into()
}

/// A claim that another message holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveClaim {
    /// When its period ends.
    pub until: UnixMillis,
    /// The tally that counts the events it holds back, if there is one.
    pub tally: Option<outbox::Slot>,
}

fn bucket_key(digest: &[u8; 16]) -> String {
    let [low, high, ..] = *digest;
    format!("tb1/c/{}", u16::from_le_bytes([low, high]) % BUCKETS)
}

/// Peeks at the claim of a cause, if its period has not ended. A bucket that does not decode counts as empty.
///
/// # Errors
/// When the host refuses.
pub fn peek(host: &impl SharedData, cause: CauseDigest, now: UnixMillis) -> Result<Option<LiveClaim>, StoreError> {
    let bucket = Bucket::decode(read(host, &bucket_key(&cause.0))?).unwrap_or_default();
    let live = bucket.find(&cause.0).filter(|entry| entry.is_live(now));
    Ok(live.map(|entry| LiveClaim { until: entry.until, tally: entry.tally }))
}

/// Makes `tally` the tally of a claim, which is given by its cause and end. If the claim's tally is no longer `seen`,
/// the inner error is the current one. A claim that no longer exists is not changed.
///
/// # Errors
/// As for any update of shared data.
pub fn link(
    host: &(impl SharedData + Metrics),
    cause: CauseDigest,
    until: UnixMillis,
    seen: Option<outbox::Slot>,
    tally: outbox::Slot,
) -> Result<Result<(), Option<outbox::Slot>>, StoreError> {
    update(host, &bucket_key(&cause.0), |stored| {
        let mut bucket = Bucket::decode(stored)?;
        let Some(entry) = bucket.claims.iter_mut().find(|entry| entry.digest == cause.0 && entry.until == until) else {
            return Ok(Change::Keep(Ok(())));
        };
        if entry.tally != seen {
            return Ok(Change::Keep(Err(entry.tally)));
        }
        entry.tally = Some(tally);
        Ok(Change::Write(bucket.encode(), Ok(())))
    })
}

/// Claims a cause for `period_ms` from `now`. `None` means that another message has claimed it.
///
/// A bucket that does not decode is replaced, and this is counted. Replacing it can at worst send a message too early.
/// Leaving it would cause a flood of messages.
///
/// # Errors
/// Any error of an update of shared data. Nothing is claimed then.
pub fn claim(
    host: &(impl SharedData + Metrics),
    cause: CauseDigest,
    period_ms: u64,
    now: UnixMillis,
) -> Result<Option<Claim>, StoreError> {
    let entry = ClaimEntry { digest: cause.0, at: now, until: now.plus(period_ms), tally: None };
    let (claimed, evicted) = update(host, &bucket_key(&cause.0), |stored| {
        let mut bucket = Bucket::decode(stored).unwrap_or_else(|corrupt| {
            host.count(Metric::CorruptRecords);
            log::error!("{corrupt}; it is replaced");
            Bucket::default()
        });
        if bucket.find(&cause.0).is_some_and(|entry| entry.is_live(now)) {
            return Ok(Change::Keep((false, 0)));
        }
        bucket.claims.retain(|entry| entry.is_live(now) && entry.digest != cause.0);
        let evicted = bucket.make_room();
        bucket.claims.push(entry);
        Ok(Change::Write(bucket.encode(), (true, evicted)))
    })?;
    if evicted > 0 {
        host.add(Metric::CooldownEvicted, evicted);
    }
    Ok(claimed.then_some(Claim { digest: cause.0, at: now.0, until: now.plus(period_ms).0, shared: cause.0 }))
}

/// Releases a claim, unless it has ended or was claimed again since.
///
/// # Errors
/// Any error of an update of shared data. The claim then lasts until its period ends.
pub fn release(host: &(impl SharedData + Metrics), claim: &Claim) -> Result<(), StoreError> {
    update(host, &bucket_key(&claim.digest), |stored| {
        let mut bucket = Bucket::decode(stored)?;
        let before = bucket.claims.len();
        bucket.claims.retain(|entry| entry.digest != claim.digest || entry.at.0 != claim.at);
        Ok(if bucket.claims.len() == before { Change::Keep(()) } else { Change::Write(bucket.encode(), ()) })
    })
}

/// Changes the end of a claim, unless it has ended or was claimed again since. Its tally, if it has one, stays as it is
/// and counts no more.
///
/// # Errors
/// Any error of an update of shared data. The claim then keeps its end.
pub fn move_end(host: &(impl SharedData + Metrics), claim: &Claim, until: UnixMillis) -> Result<(), StoreError> {
    update(host, &bucket_key(&claim.digest), |stored| {
        let mut bucket = Bucket::decode(stored)?;
        let is_own = |entry: &&mut ClaimEntry| entry.digest == claim.digest && entry.at.0 == claim.at;
        let Some(entry) = bucket.claims.iter_mut().find(is_own) else { return Ok(Change::Keep(())) };
        (entry.until, entry.tally) = (until, None);
        Ok(Change::Write(bucket.encode(), ()))
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct ClaimEntry {
    digest: [u8; 16],
    at: UnixMillis,
    until: UnixMillis,
    tally: Option<outbox::Slot>,
}

impl ClaimEntry {
    /// A claim that ends further in the future than its period was made by a wrong clock that has been corrected since.
    fn is_live(&self, now: UnixMillis) -> bool {
        now < self.until && self.at.since(now) <= self.until.since(self.at)
    }
}

#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Bucket {
    claims: Vec<ClaimEntry>,
}

impl Bucket {
    fn decode(stored: Option<Vec<u8>>) -> Result<Self, CorruptRecord> {
        let Some(bytes) = stored else { return Ok(Bucket::default()) };
        record::decode(VERSION, &bytes).ok_or(CorruptRecord { record: "cool-down bucket", len: bytes.len() })
    }

    fn encode(&self) -> Vec<u8> {
        record::encode(VERSION, self)
    }

    fn find(&self, digest: &[u8; 16]) -> Option<&ClaimEntry> {
        self.claims.iter().find(|entry| entry.digest == *digest)
    }

    /// Evicts the oldest claims until one more fits. Returns the number of evicted claims.
    fn make_room(&mut self) -> u64 {
        let mut evicted = 0_u64;
        while self.claims.len() >= CLAIMS_PER_BUCKET {
            let Some((oldest, _)) = self.claims.iter().enumerate().min_by_key(|(_, entry)| entry.at) else { break };
            self.claims.remove(oldest);
            evicted = evicted.saturating_add(1);
        }
        evicted
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::testing::MemoryHost;
    use proptest::prelude::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn is_claimed(host: &MemoryHost, cause: CauseDigest, now: UnixMillis) -> Result<bool, StoreError> {
        Ok(peek(host, cause, now)?.is_some())
    }

    fn cause(n: u32) -> CauseDigest {
        CauseDigest::new("handler", 1, request_checksum("POST", "/", "a.test", &n.to_string()))
    }

    #[test]
    fn the_checksum_is_the_same_as_tyks() {
        tyks_checksum();
    }

    /// The example of Tyk's own test of its webhook handler.
    pub fn tyks_checksum() {
        let fields = [
            r#""event": "QuotaExceeded","#,
            r#""message": "Key Quota Limit Exceeded","#,
            r#""path": "/about-lonelycoder/","#,
            r#""origin": "","#,
            r#""key": "4321","#,
            r#""timestamp": 2014-11-27 12:52:05.944549825 &#43;0000 GMT"#,
        ];
        let body = format!("{{\n\t\t{}\n\t}}", fields.join("\n\t\t"));
        let checksum = request_checksum("GET", "/get", "127.0.0.1:16500", &body);
        assert_eq!(hex::encode(checksum), "62a6b4fa9b45cd372b871764296fb3a5");
    }

    #[test]
    fn one_claim_per_period() {
        let host = MemoryHost::default();
        let claim_at = |now| claim(&host, cause(1), 10_000, UnixMillis(now)).unwrap();
        assert!(claim_at(5).is_some());
        assert!(is_claimed(&host, cause(1), UnixMillis(10_004)).unwrap());
        assert!(claim_at(10_004).is_none());
        assert!(!is_claimed(&host, cause(1), UnixMillis(10_005)).unwrap());
        assert!(claim_at(10_005).is_some());
    }

    #[test]
    fn handlers_and_kinds_do_not_suppress_each_other() {
        let checksum = request_checksum("POST", "/", "a.test", "{}");
        assert_ne!(CauseDigest::new("a", 1, checksum), CauseDigest::new("b", 1, checksum));
        assert_ne!(CauseDigest::new("a", 1, checksum), CauseDigest::new("a", 2, checksum));
    }

    #[test]
    fn a_released_claim_can_be_made_again_and_a_newer_one_stays() {
        let host = MemoryHost::default();
        let first = claim(&host, cause(1), 10, UnixMillis(5)).unwrap().unwrap();
        release(&host, &first).unwrap();
        let second = claim(&host, cause(1), 10, UnixMillis(6)).unwrap();
        assert!(second.is_some());
        release(&host, &first).unwrap();
        assert!(is_claimed(&host, cause(1), UnixMillis(7)).unwrap());
    }

    #[test]
    fn a_flood_stays_in_a_table_of_fixed_size() {
        let host = MemoryHost::default();
        for n in 0..20_000 {
            claim(&host, cause(n), 60_000, UnixMillis(u64::from(n))).unwrap();
        }
        assert!(host.key_count() <= usize::from(BUCKETS));
        assert!(host.stored_bytes() <= usize::from(BUCKETS) * (2 + CLAIMS_PER_BUCKET * 42));
        assert!(host.metric(Metric::CooldownEvicted) >= 20_000 - 512 * 16);
        assert!(is_claimed(&host, cause(19_999), UnixMillis(20_000)).unwrap(), "the newest stays");
        assert!(!is_claimed(&host, cause(0), UnixMillis(20_000)).unwrap(), "the oldest went");
    }

    #[test]
    fn a_bucket_of_foreign_bytes_is_replaced() {
        let host = MemoryHost::default();
        host.put(&bucket_key(&cause(1).0), b"not ours").unwrap();
        assert!(!is_claimed(&host, cause(1), UnixMillis(0)).unwrap());
        assert!(claim(&host, cause(1), 1, UnixMillis(0)).unwrap().is_some());
        assert!(is_claimed(&host, cause(1), UnixMillis(0)).unwrap());
        assert_eq!(host.metric(Metric::CorruptRecords), 1);
    }

    proptest! {
        #[test]
        fn buckets_are_read_back(slots in prop::collection::vec((any::<[u8; 16]>(), any::<u64>(), any::<u64>(), prop::option::of(any::<u32>())), 0..16)) {
            let slots = slots.into_iter()
                .map(|(digest, at, until, tally)| {
                    let tally = tally.map(outbox::Slot);
                    ClaimEntry { digest, at: UnixMillis(at), until: UnixMillis(until), tally }
                })
                .collect();
            let bucket = Bucket { claims: slots };
            prop_assert_eq!(Bucket::decode(Some(bucket.encode())), Ok(bucket));
        }
    }
}
