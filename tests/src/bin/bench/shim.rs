//! The host shim against Envoy: the same filters from the same file, each host with one worker on the same core.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;

use crate::Extent;
use crate::cases::{Case, FULL, NO_FILTER, config, smallest, tollbell};
use crate::process::{Gateway, Round, Running};
use crate::statistics::{median, spread};

pub(crate) fn table(folder: &Path, extent: &Extent) -> Result<String> {
    let mut out = format!(
        "The host shim against Envoy: CPU of the worker thread per request in µs, and the ratio of requests per second: the \
         median of {} processes (the least and the most)\n\n",
        extent.processes
    );
    out += "| filter | Envoy CPU µs | shim CPU µs | Envoy requests/s | shim requests/s | shim / Envoy |\n";
    out += "|---|---:|---:|---:|---:|---:|\n";
    for case in [Case::new(NO_FILTER, vec![]), smallest(), Case::new(FULL, vec![tollbell(&config())])] {
        let name = case.name;
        let mut rounds = [Vec::new(), Vec::new()];
        for _ in 0..extent.processes {
            for (seen, round) in rounds.iter_mut().zip(pair(&case, folder, extent)?) {
                seen.push(round);
            }
        }
        let cpu = |rounds: &[Round]| median(&rounds.iter().map(|round| round.cpu_per_request).collect::<Vec<_>>());
        let rates = |rounds: &[Round]| rounds.iter().map(|round| round.requests_per_second).collect::<Vec<_>>();
        let [envoy, shim] = &rounds;
        let ratios: Vec<f64> = rates(shim).iter().zip(rates(envoy)).map(|(shim, envoy)| shim / envoy).collect();
        writeln!(
            out,
            "| {name} | {:.1} | {:.1} | {:.0} | {:.0} | {} |",
            cpu(envoy)?,
            cpu(shim)?,
            median(&rates(envoy))?,
            median(&rates(shim))?,
            spread(&ratios, 2)?
        )?;
    }
    Ok(out)
}

/// The medians of one process of each host, whose rounds take turns.
fn pair(case: &Case, folder: &Path, extent: &Extent) -> Result<[Round; 2]> {
    let start = |gateway| Running::start(Case { gateway, ..case.clone() }, 1, folder);
    let running = [start(Gateway::Envoy)?, start(Gateway::Shim)?];
    let mut seen = [Vec::new(), Vec::new()];
    // The first round is a warm-up.
    for round in 0..=extent.rounds {
        for (running, seen) in running.iter().zip(&mut seen) {
            let measured = running.round(extent.seconds)?;
            if round > 0 {
                seen.push(measured);
            }
        }
    }
    let middle = |rounds: &[Round]| -> Result<Round> {
        Ok(Round {
            requests_per_second: median(&rounds.iter().map(|round| round.requests_per_second).collect::<Vec<_>>())?,
            cpu_per_request: median(&rounds.iter().map(|round| round.cpu_per_request).collect::<Vec<_>>())?,
            ..Round::default()
        })
    };
    Ok([middle(&seen[0])?, middle(&seen[1])?])
}
