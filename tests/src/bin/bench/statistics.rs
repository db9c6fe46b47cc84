//! Medians and ranges.

use anyhow::{Context, Result};

pub(crate) fn median(values: &[f64]) -> Result<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().context("nothing was measured")
}

/// `1.98 (1.90–2.05)`: the median, the minimum and the maximum.
pub(crate) fn spread(values: &[f64], digits: usize) -> Result<String> {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    Ok(format!("{:.digits$} ({least:.digits$}–{most:.digits$})", median(values)?))
}
