//! tollbell's configurations in an Envoy configuration.

use anyhow::{Result, bail};
use host_shim::config::model::Bootstrap;
use tollbell_core::preview::Preview;

/// The configurations of tollbell, without duplicates.
///
/// # Errors
/// The file has no configuration of tollbell. Errors in a configuration are printed to standard error.
pub(crate) fn previews(bootstrap: &Bootstrap) -> Result<Vec<Preview>> {
    let filters = bootstrap.listeners.iter().flat_map(|listener| &listener.manager.filters);
    let mut seen: Vec<&[u8]> = Vec::new();
    let (mut previews, mut errors) = (Vec::new(), Vec::new());
    for filter in filters {
        let configuration = filter.plugin.configuration.as_slice();
        if seen.contains(&configuration) {
            continue;
        }
        seen.push(configuration);
        match Preview::load(configuration) {
            Ok(preview) => previews.push(preview),
            Err(found) => errors.extend(found),
        }
    }
    if previews.is_empty() {
        errors.iter().for_each(|error| eprintln!("error: {error}"));
        match errors.is_empty() {
            true => bail!("the configuration has no wasm filter"),
            false => bail!("the configuration of tollbell has errors; see above"),
        }
    }
    Ok(previews)
}
