//! The network between the members and the stores: times on the way, and calls that get lost.

use anyhow::{Context, Result};
use tollbell_tests::lease_model::Line;

use crate::demand::Random;

pub(crate) const REGIONS: usize = 10;

/// One way inside a region and between regions, in microseconds.
const NEAR_US: u64 = 250;
const FAR_US: u64 = 75_000;

/// One message of this many is lost.
const LOSS: usize = 2000;

/// Where members and stores are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Topology {
    /// All in one region.
    Near,
    /// Members in ten regions, and a store in the first.
    Far,
    /// Members in ten regions, each with its own store.
    Own,
}

impl Topology {
    pub(crate) fn region(self, vm: usize) -> usize {
        if self == Topology::Near { 0 } else { vm % REGIONS }
    }

    /// The store that a member of a region uses.
    pub(crate) fn store(self, region: usize) -> usize {
        if self == Topology::Own { region } else { 0 }
    }

    /// The time that a message takes between a member and its store; `None` if it gets lost.
    pub(crate) fn way(self, region: usize, random: &mut Random) -> Option<u64> {
        let is_far = self == Topology::Far && region > 0;
        let base = if is_far { FAR_US } else { NEAR_US };
        // Up to a tenth more, and sometimes much more.
        let jitter = base / 10 + if random.below(1000) == 0 { 5000 } else { 0 };
        (random.below(LOSS) > 0).then(|| base + random.next() % (jitter + 1))
    }
}

/// A command in a call.
pub(crate) enum Command {
    /// A member asks for its number.
    Hello,
    Lease {
        lessee: String,
        lines: Vec<Line>,
    },
}

/// Reads a pipeline of commands.
pub(crate) fn commands(body: &[u8]) -> Result<Vec<Command>> {
    let text = std::str::from_utf8(body)?;
    let mut words = text.split("\r\n");
    let mut commands = Vec::new();
    while let Some(head) = words.next().filter(|head| !head.is_empty()) {
        let count: usize = head.strip_prefix('*').context("no command")?.parse()?;
        let parts: Vec<&str> = (0..count).filter_map(|_| words.nth(1)).collect();
        commands.push(match parts.as_slice() {
            ["INCR", _] => Command::Hello,
            [_, _, keys, rest @ ..] => {
                let (keys, rest) = rest.split_at(keys.parse()?);
                let (lessee, values) = rest.split_first().context("no lessee")?;
                let lines = keys.iter().zip(values.chunks_exact(13)).map(|(key, values)| line(key, values));
                Command::Lease { lessee: (*lessee).to_owned(), lines: lines.collect::<Result<_>>()? }
            }
            _ => anyhow::bail!("an unknown command: {parts:?}"),
        });
    }
    Ok(commands)
}

fn line(key: &str, values: &[&str]) -> Result<Line> {
    let mut numbers = [0; 9];
    for (number, value) in numbers.iter_mut().zip(values) {
        *number = value.parse()?;
    }
    let alert = |alert: &str| {
        let (at, percent) = alert.split_once(':')?;
        Some((at.parse().ok()?, percent.parse().ok()?))
    };
    let alerts = values[9].split(',').filter_map(alert).collect();
    Ok(Line {
        key: key.to_owned(),
        numbers,
        alerts,
        confirmed: values[10].parse()?,
        forecast: (values[11].parse()?, values[12].parse()?),
    })
}

/// Writes the reply of a script.
pub(crate) fn reply(numbers: &[i64], bytes: &mut Vec<u8>) {
    use std::io::Write as _;
    // Writing to memory does not fail.
    let _ = write!(bytes, "*{}\r\n", numbers.len());
    for number in numbers {
        let _ = write!(bytes, ":{number}\r\n");
    }
}
