//! The records of all logs in the order of their times.
//!
//! Envoy writes a line when a request ends, so lines are out of order by the lengths of requests. Each log is put in
//! order within a minute, and then the logs are merged.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::path::PathBuf;

use anyhow::{Result, bail};

use super::fields::Fields;
use super::input::{Input, Progress};
use super::json;
use super::record::Record;
use super::text::{DEFAULT_FORMAT, Format};

/// How far a record may be behind the latest one before it.
const WINDOW: u64 = 60_000_000_000;

/// The most records of all logs that wait to be put in order: a minute of 20,000 requests a second, in 400 MB.
const MAX_WAITING: usize = 1_200_000;

/// How lines are read.
#[derive(Clone, Debug)]
pub(crate) enum Entry {
    /// JSON, or else Envoy's default format: the first line of each log decides.
    Any,
    Json,
    Text(Format),
}

/// Lines that could not be used.
#[derive(Clone, Debug, Default)]
pub(crate) struct Troubles {
    /// For each fault, the number of lines and the first of them.
    pub(crate) malformed: BTreeMap<String, (u64, String)>,
    /// Records that came too late, and the first of them. They were used at the time of the record before them.
    pub(crate) late: Option<(u64, String)>,
    /// Logs that could not be read to their end.
    pub(crate) broken: Vec<String>,
}

impl Troubles {
    pub(crate) fn lines(&self) -> u64 {
        self.malformed.values().map(|(count, _)| count).sum()
    }
}

/// All logs.
pub(crate) struct Logs {
    logs: Vec<Log>,
    fields: Fields,
    troubles: Troubles,
    /// The time of the last record that was returned.
    last: u64,
    max_waiting: usize,
    progress: Progress,
    size: Option<u64>,
}

struct Log {
    input: Input,
    entry: Entry,
    waiting: BinaryHeap<Reverse<Waiting>>,
    latest: u64,
    is_over: bool,
}

/// A record in the order of time, and of lines for equal times.
struct Waiting {
    record: Record,
    line: u64,
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        (self.record.time, self.line) == (other.record.time, other.line)
    }
}

impl Eq for Waiting {}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.record.time, self.line).cmp(&(other.record.time, other.line))
    }
}

impl Logs {
    /// Opens all logs.
    ///
    /// # Errors
    /// A log cannot be read.
    pub(crate) fn open(paths: &[PathBuf], fields: Fields, entry: &Entry) -> Result<Self> {
        if paths.iter().filter(|path| path.as_os_str() == "-").count() > 1 {
            bail!("standard input can be read only once");
        }
        let progress = Progress::default();
        let (mut logs, mut size) = (Vec::new(), Some(0));
        for path in paths {
            let (input, of_file) = Input::open(path, &progress)?;
            size = size.zip(of_file).map(|(sum, size)| sum + size);
            logs.push(Log { input, entry: entry.clone(), waiting: BinaryHeap::new(), latest: 0, is_over: false });
        }
        let max_waiting = (MAX_WAITING / logs.len().max(1)).max(1);
        Ok(Logs { logs, fields, troubles: Troubles::default(), last: 0, max_waiting, progress, size })
    }

    /// The sizes of all logs together, if they are known.
    pub(crate) fn size(&self) -> Option<u64> {
        self.size
    }

    pub(crate) fn progress(&self) -> Progress {
        self.progress.clone()
    }

    pub(crate) fn fields(&self) -> &Fields {
        &self.fields
    }

    /// The lines that could not be used so far.
    pub(crate) fn troubles(&self) -> &Troubles {
        &self.troubles
    }

    /// The next record.
    pub(crate) fn next_record(&mut self) -> Option<Record> {
        let Logs { logs, fields, troubles, last, max_waiting, .. } = self;
        for log in logs.iter_mut() {
            log.fill(fields, troubles, *max_waiting);
        }
        let first = logs.iter_mut().filter(|log| !log.waiting.is_empty()).min_by_key(|log| log.next_time())?;
        let Reverse(Waiting { mut record, line }) = first.waiting.pop()?;
        if record.time < *last {
            let late = troubles.late.get_or_insert_with(|| (0, format!("{}, line {line}", first.input.name())));
            late.0 += 1;
            record.time = *last;
        }
        *last = record.time;
        Some(record)
    }
}

impl Log {
    fn next_time(&self) -> u64 {
        self.waiting.peek().map_or(u64::MAX, |Reverse(next)| next.record.time)
    }

    /// Reads lines until the next record is certain.
    fn fill(&mut self, fields: &mut Fields, troubles: &mut Troubles, max_waiting: usize) {
        while !self.is_over
            && self.waiting.len() < max_waiting
            && self.waiting.peek().is_none_or(|Reverse(next)| next.record.time.saturating_add(WINDOW) >= self.latest)
        {
            let Some((number, line)) = self.input.next_line() else {
                self.is_over = true;
                troubles.broken.extend(self.input.broken().map(str::to_owned));
                return;
            };
            let read = line.map_err(str::to_owned).and_then(|line| {
                if matches!(self.entry, Entry::Any) {
                    self.entry = match line.starts_with('{') {
                        true => Entry::Json,
                        false => Entry::Text(Format::new(DEFAULT_FORMAT, fields, None)?),
                    };
                }
                match &self.entry {
                    Entry::Text(format) => format.read(line),
                    Entry::Json | Entry::Any => json::read(fields, line),
                }
            });
            match read {
                Ok(record) => {
                    self.latest = self.latest.max(record.time);
                    self.waiting.push(Reverse(Waiting { record, line: number }));
                }
                Err(fault) => {
                    let first = || (0, format!("{}, line {number}", self.input.name()));
                    troubles.malformed.entry(fault).or_insert_with(first).0 += 1;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Write as _;

    use super::*;

    fn log(name: &str, seconds: &[u64], is_gzip: bool) -> PathBuf {
        let path = std::env::temp_dir().join(format!("tollbell-order-{}-{name}", std::process::id()));
        let lines: String = seconds
            .iter()
            .map(|second| format!("{{\"time\":{},\"path\":\"/{name}\"}}\n", 1_780_000_000 + second))
            .collect();
        let file = std::fs::File::create(&path).unwrap();
        if is_gzip {
            flate2::write::GzEncoder::new(file, flate2::Compression::fast()).write_all(lines.as_bytes()).unwrap();
        } else {
            (&file).write_all(lines.as_bytes()).unwrap();
        }
        path
    }

    #[test]
    fn logs_are_merged_in_order() {
        let paths = [log("a", &[5, 3, 70, 1, 69, 200], false), log("b", &[4, 71, 130], true)];
        let fields = Fields::new(&[], &[], None).unwrap();
        let mut logs = Logs::open(&paths, fields, &Entry::Any).unwrap();
        let times: Vec<u64> = std::iter::from_fn(|| logs.next_record())
            .map(|record| record.time / 1_000_000_000 - 1_780_000_000)
            .collect();
        // Second 1 comes 69 seconds after second 70.
        assert_eq!(times, [3, 4, 5, 5, 69, 70, 71, 130, 200]);
        let (count, place) = logs.troubles().late.clone().unwrap();
        assert!(count == 1 && place.ends_with("-a, line 4"), "{place}");
        assert_eq!(logs.progress().bytes(), logs.size().unwrap());
        paths.iter().for_each(|path| std::fs::remove_file(path).unwrap());
    }

    #[test]
    fn malformed_lines_are_counted() {
        let path = std::env::temp_dir().join(format!("tollbell-malformed-{}", std::process::id()));
        let long = format!("{{\"time\":1780000000,\"path\":\"/{}\"}}", "a".repeat(2 << 20));
        std::fs::write(&path, [b"\n{\"time\":1780000000,\"path\":\"/\"}\nx\n\xff\ny\n", long.as_bytes()].concat())
            .unwrap();
        let mut logs =
            Logs::open(std::slice::from_ref(&path), Fields::new(&[], &[], None).unwrap(), &Entry::Any).unwrap();
        assert_eq!(std::iter::from_fn(|| logs.next_record()).count(), 1);
        let troubles = logs.troubles();
        let counts: Vec<(&str, u64)> =
            troubles.malformed.iter().map(|(fault, (count, _))| (fault.as_str(), *count)).collect();
        assert_eq!(counts, [("a line of more than 1 MiB", 1), ("not UTF-8", 1), ("not a JSON object", 2)]);
        assert!(troubles.malformed["not a JSON object"].1.ends_with(", line 3"), "{troubles:?}");
        std::fs::remove_file(path).unwrap();
    }
}
