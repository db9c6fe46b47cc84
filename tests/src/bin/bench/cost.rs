//! The cost of a request.

use std::io::IsTerminal;
use std::path::Path;

use anyhow::{Context, Result};

use crate::Extent;
use crate::cases::{self, NO_FILTER, SMALLEST};
use crate::process::Running;
use crate::statistics::{median, spread};

/// One case, with a value for each of its processes.
struct Measured {
    name: &'static str,
    cpu: Vec<f64>,
    rates: Vec<f64>,
}

pub(crate) fn table(folder: &Path, extent: &Extent) -> Result<String> {
    let mut measured: Vec<Measured> = Vec::new();
    for process in 1..=extent.processes {
        let cases = cases::of_requests(folder, extent.is_quick)?.into_iter();
        let running = cases.map(|case| Running::start(case, 1, folder)).collect::<Result<Vec<_>>>()?;
        let mut rounds: Vec<_> = running.iter().map(|_| Vec::new()).collect();
        // The first round is a warm-up.
        for round in 0..=extent.rounds {
            for (running, rounds) in running.iter().zip(&mut rounds) {
                if std::io::stderr().is_terminal() {
                    let (of, name) = (extent.processes, running.case.name);
                    eprint!("\rprocess {process} of {of}, round {round} of {}: {name:<60}", extent.rounds);
                }
                let seen = running.round(if round == 0 { 1 } else { extent.seconds })?;
                if round > 0 {
                    rounds.push(seen);
                }
            }
        }
        if measured.is_empty() {
            let new = |running: &Running| Measured { name: running.case.name, cpu: Vec::new(), rates: Vec::new() };
            measured = running.iter().map(new).collect();
        }
        for (measured, rounds) in measured.iter_mut().zip(&rounds) {
            measured.cpu.push(median(&rounds.iter().map(|round| round.cpu_per_request).collect::<Vec<_>>())?);
            measured.rates.push(median(&rounds.iter().map(|round| round.requests_per_second).collect::<Vec<_>>())?);
        }
    }
    if std::io::stderr().is_terminal() {
        eprintln!();
    }
    let of = |name: &str| {
        let found = measured.iter().find(|measured| measured.name == name);
        found.map(|measured| measured.cpu.clone()).with_context(|| format!("{name} was not measured"))
    };
    let (none, smallest) = (of(NO_FILTER)?, of(SMALLEST)?);
    let mut out = format!(
        "CPU of the worker thread per request in µs, beyond no filter, and as a ratio to the smallest filter's: the median of \
         {} processes (the least and the most), each with {} rounds of {} s, in turns\n\n",
        extent.processes, extent.rounds, extent.seconds
    );
    out += "| filter | CPU µs | added µs | of the smallest | requests/s |\n|---|---:|---:|---:|---:|\n";
    for Measured { name, cpu, rates } in &measured {
        let added: Vec<f64> = cpu.iter().zip(&none).map(|(cpu, none)| cpu - none).collect();
        let bases = smallest.iter().zip(&none).map(|(smallest, none)| smallest - none);
        let ratios: Vec<f64> = added.iter().zip(bases).map(|(added, base)| added / base).collect();
        let (cpu, rate) = (median(cpu)?, median(rates)?);
        out += &match *name {
            NO_FILTER => format!("| {name} | {cpu:.1} | – | – | {rate:.0} |\n"),
            _ => {
                let (added, ratio) = (spread(&added, 1)?, spread(&ratios, 2)?);
                format!("| {name} | {cpu:.1} | {added} | {ratio} | {rate:.0} |\n")
            }
        };
    }
    Ok(out)
}
