//! The counters of the module, for a host that defines them at its start.

use crate::access::RequestOutcome;
use crate::event::EventKind;
use crate::host::Metric;

/// Every counter that tollbell keeps.
pub fn metrics() -> impl Iterator<Item = Metric> {
    let requests = RequestOutcome::all().map(RequestOutcome::metric);
    let observed = RequestOutcome::all().map(RequestOutcome::would_refuse);
    Metric::plain().chain(requests).chain(observed).chain(EventKind::all().map(EventKind::metric))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::host::Label;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn every_counter_has_its_own_place_and_name() {
        let places: BTreeSet<usize> = metrics().map(Metric::index).collect();
        let names: BTreeSet<String> = metrics().map(Metric::name).collect();
        assert_eq!((places.len(), names.len()), (metrics().count(), metrics().count()));
        assert!(places.iter().all(|place| *place < Metric::MOST));
        assert!(RequestOutcome::all().count() <= Label::MOST && EventKind::all().count() <= Label::MOST);
    }
}
