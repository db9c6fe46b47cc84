//! The bytes of a log: a file or standard input, compressed by gzip or not, in lines.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, Result};
use flate2::bufread::MultiGzDecoder;

/// The longest line that is read. The rest of a longer one is skipped.
const MAX_LINE: u64 = 1 << 20;

const BUFFER: usize = 1 << 18;

/// How many bytes of all logs were read, as they are on disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress(Arc<AtomicU64>);

impl Progress {
    pub(crate) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

struct Counted<R> {
    reader: R,
    progress: Progress,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.progress.0.fetch_add(u64::try_from(count).unwrap_or_default(), Ordering::Relaxed);
        Ok(count)
    }
}

/// The lines of a log.
pub(super) struct Input {
    name: String,
    reader: Box<dyn BufRead>,
    line: Vec<u8>,
    number: u64,
    broken: Option<String>,
}

impl Input {
    /// Opens a file, or standard input for `-`. Returns its size, too, if it is known.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn open(path: &Path, progress: &Progress) -> Result<(Self, Option<u64>)> {
        let progress = progress.clone();
        let (name, raw, size): (_, Box<dyn Read>, _) = if path == Path::new("-") {
            ("standard input".to_owned(), Box::new(Counted { reader: io::stdin(), progress }), None)
        } else {
            let name = path.display().to_string();
            let file = File::open(path).with_context(|| format!("cannot read {name}"))?;
            let size = file.metadata().ok().filter(std::fs::Metadata::is_file).map(|data| data.len());
            (name, Box::new(Counted { reader: file, progress }), size)
        };
        let mut raw = BufReader::with_capacity(BUFFER, raw);
        let is_gzip = raw.fill_buf().with_context(|| format!("cannot read {name}"))?.starts_with(&[0x1f, 0x8b]);
        let reader: Box<dyn BufRead> = match is_gzip {
            true => Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(raw))),
            false => Box::new(raw),
        };
        Ok((Input { name, reader, line: Vec::new(), number: 0, broken: None }, size))
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The next line that is not empty, without its end, and its number. `None` at the end of the log, and where it
    /// cannot be read further: see [`Input::broken`].
    pub(super) fn next_line(&mut self) -> Option<(u64, Result<&str, &'static str>)> {
        loop {
            self.line.clear();
            self.number += 1;
            let mut limited = self.reader.by_ref().take(MAX_LINE);
            match limited.read_until(b'\n', &mut self.line) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) => {
                    self.broken =
                        Some(format!("{}: cannot be read after line {}: {error}", self.name, self.number - 1));
                    return None;
                }
            }
            if limited.limit() == 0 && self.line.last() != Some(&b'\n') {
                // An error comes again at the next line.
                let _ = self.reader.skip_until(b'\n');
                return Some((self.number, Err("a line of more than 1 MiB")));
            }
            if !self.line.trim_ascii().is_empty() {
                break;
            }
        }
        let line = std::str::from_utf8(self.line.trim_ascii_end()).map_err(|_| "not UTF-8");
        Some((self.number, line))
    }

    /// Why the log ended early, if it did.
    pub(super) fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }
}
