//! The cost of a start: time, CPU and memory.

use std::path::Path;

use anyhow::Result;

use crate::Extent;
use crate::cases::{Case, NO_FILTER, SMALLEST, config, smallest, tollbell};
use crate::process::Running;
use crate::statistics::{median, spread};

const STARTS: usize = 3;

pub(crate) fn table(folder: &Path, extent: &Extent) -> Result<String> {
    let cases = [
        Case::new(NO_FILTER, vec![]),
        Case { name: SMALLEST, ..smallest() },
        Case::new("tollbell", vec![tollbell(&config())]),
    ];
    let workers: &[u32] = if extent.is_quick { &[1] } else { &[1, 8] };
    let mut out = format!(
        "From the start of Envoy to its first answer: the median of {STARTS} starts (the least and the most)\n\n\
         | filter | workers | first answer, s | CPU, s | resident, MiB |\n|---|---:|---:|---:|---:|\n"
    );
    for workers in workers {
        let mut starts = vec![[const { Vec::<f64>::new() }; 3]; cases.len()];
        for _ in 0..STARTS {
            for (case, [answer, cpu, resident]) in cases.iter().zip(&mut starts) {
                let running = Running::start(case.clone(), *workers, folder)?;
                answer.push(running.first_answer.as_secs_f64());
                cpu.push(running.start_cpu.as_secs_f64());
                resident.push(running.resident()?);
            }
        }
        for (case, [answer, cpu, resident]) in cases.iter().zip(&starts) {
            let (answer, resident) = (median(answer)?, median(resident)?);
            let (name, cpu) = (case.name, spread(cpu, 2)?);
            out += &format!("| {name} | {workers} | {answer:.1} | {cpu} | {resident:.0} |\n");
        }
    }
    Ok(out)
}
