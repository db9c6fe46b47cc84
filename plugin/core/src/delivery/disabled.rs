//! Endpoints that answered 410 Gone. Nothing is sent to them until the configuration changes.
//!
//! A configuration that starts again has no disabled endpoints, even if it was in use before.

use serde::{Deserialize, Serialize};

use super::target::EndpointId;
use crate::base::record;
use crate::host::{Change, Metric, Metrics, SharedData, StoreError, read, update};

const KEY: &str = "tb1/disabled";
const VERSION: u8 = 2;

/// The maximum number of endpoints. A further one evicts the oldest, which then gets messages again.
pub const CAPACITY: usize = 256;

/// A configuration's fingerprint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigId(pub u64);

/// The disabled endpoints, each for one configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disabled {
    latest: Option<ConfigId>,
    entries: Vec<(ConfigId, EndpointId)>,
}

impl Disabled {
    /// True if the configuration's endpoint is disabled.
    pub fn contains(&self, config: ConfigId, endpoint: EndpointId) -> bool {
        self.entries.contains(&(config, endpoint))
    }

    /// True if no other configuration has started since this one.
    pub fn is_latest(&self, config: ConfigId) -> bool {
        self.latest.is_none_or(|latest| latest == config)
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }
}

/// Called when a VM starts with a configuration. Returns true if another configuration started last.
///
/// # Errors
/// As for any update of shared data.
pub fn begin(host: &(impl SharedData + Metrics), config: ConfigId) -> Result<bool, StoreError> {
    change(host, |table| {
        if table.latest == Some(config) {
            return false;
        }
        table.latest = Some(config);
        table.entries.retain(|(owner, _)| *owner != config);
        true
    })
}

/// Disables an endpoint.
///
/// # Errors
/// As for any update of shared data.
pub fn disable(host: &(impl SharedData + Metrics), config: ConfigId, endpoint: EndpointId) -> Result<(), StoreError> {
    let changed = change(host, |table| {
        if table.entries.contains(&(config, endpoint)) {
            return false;
        }
        if table.entries.len() >= CAPACITY {
            table.entries.remove(0);
        }
        table.entries.push((config, endpoint));
        true
    });
    changed.map(drop)
}

/// Reads the disabled endpoints. If the table does not decode, there are none, and the next 410 overwrites it.
///
/// # Errors
/// When the host refuses.
pub fn disabled(host: &impl SharedData) -> Result<Disabled, StoreError> {
    Ok(Disabled::decode(read(host, KEY)?.as_deref()).unwrap_or_default())
}

fn change(host: &(impl SharedData + Metrics), step: impl Fn(&mut Disabled) -> bool) -> Result<bool, StoreError> {
    update(host, KEY, |stored| {
        let mut table = Disabled::decode(stored.as_deref()).unwrap_or_else(|| {
            host.count(Metric::CorruptRecords);
            log::error!("{KEY}: the table of disabled endpoints does not decode; it is replaced");
            Disabled::default()
        });
        Ok(if step(&mut table) { Change::Write(table.encode(), true) } else { Change::Keep(false) })
    })
}

impl Disabled {
    fn decode(stored: Option<&[u8]>) -> Option<Self> {
        stored.map_or_else(|| Some(Disabled::default()), |bytes| record::decode(VERSION, bytes))
    }

    fn encode(&self) -> Vec<u8> {
        record::encode(VERSION, self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::MemoryHost;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const A: ConfigId = ConfigId(1);
    const B: ConfigId = ConfigId(2);
    const GONE: EndpointId = EndpointId(7);

    fn is_disabled(host: &MemoryHost, config: ConfigId) -> bool {
        disabled(host).unwrap().contains(config, GONE)
    }

    #[test]
    fn an_endpoint_is_disabled_until_another_configuration_begins() {
        let host = MemoryHost::default();
        begin(&host, A).unwrap();
        disable(&host, A, GONE).unwrap();
        begin(&host, A).unwrap();
        assert!(is_disabled(&host, A), "another VM of the same configuration");
        begin(&host, B).unwrap();
        assert!(!is_disabled(&host, B));
        begin(&host, A).unwrap();
        assert!(!is_disabled(&host, A), "the first one again, after another");
    }

    #[test]
    fn the_table_is_bounded_and_foreign_bytes_are_replaced() {
        let host = MemoryHost::default();
        for endpoint in 0..1000 {
            disable(&host, A, EndpointId(endpoint)).unwrap();
        }
        assert_eq!(disabled(&host).unwrap().len(), CAPACITY);
        host.put(KEY, b"not ours").unwrap();
        assert_eq!(disabled(&host).unwrap().len(), 0);
        disable(&host, A, GONE).unwrap();
        assert!(is_disabled(&host, A));
    }
}
