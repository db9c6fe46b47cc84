//! The log of modules and of the host. It is kept for a test, or written to standard error in Envoy's format.

use std::io::Write;
use std::sync::Mutex;

use crate::base::{LogLevel, lock};

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// Its level.
    pub level: LogLevel,
    /// The thread. 0 is the main thread, and the first worker is 1.
    pub thread: usize,
    /// Whether a module wrote the line, and not the host.
    pub from_module: bool,
    /// The text.
    pub text: String,
}

/// The destination of log lines.
#[derive(Debug)]
pub struct Logs {
    level: LogLevel,
    sink: Sink,
}

#[derive(Debug)]
enum Sink {
    Kept(Mutex<Vec<LogLine>>),
    StandardError,
}

impl Logs {
    /// Keeps all lines of a level and above.
    pub fn kept(level: LogLevel) -> Self {
        Logs { level, sink: Sink::Kept(Mutex::default()) }
    }

    /// Writes the lines of a level and above to standard error.
    pub fn standard_error(level: LogLevel) -> Self {
        Logs { level, sink: Sink::StandardError }
    }

    /// Returns the lowest level that is logged.
    pub fn level(&self) -> LogLevel {
        self.level
    }

    /// Logs a line. `now` is in nanoseconds since 1970.
    pub fn write(&self, now: u64, line: LogLine) {
        if line.level < self.level {
            return;
        }
        match &self.sink {
            Sink::Kept(lines) => lock(lines).push(line),
            Sink::StandardError => {
                let component = if line.from_module { "wasm" } else { "main" };
                let text = format!(
                    "[{}][{}][{}][{component}] {}\n",
                    timestamp(now),
                    line.thread,
                    line.level.name(),
                    line.text
                );
                // There is nowhere to report that standard error is closed.
                let _ = std::io::stderr().lock().write_all(text.as_bytes());
            }
        }
    }

    /// Removes and returns the kept lines.
    pub fn take(&self) -> Vec<LogLine> {
        match &self.sink {
            Sink::Kept(lines) => std::mem::take(&mut *lock(lines)),
            Sink::StandardError => Vec::new(),
        }
    }

    /// Returns the kept lines.
    pub fn lines(&self) -> Vec<LogLine> {
        match &self.sink {
            Sink::Kept(lines) => lock(lines).clone(),
            Sink::StandardError => Vec::new(),
        }
    }
}

/// Formats a time like Envoy's log: `2026-11-21 10:50:25.123`.
fn timestamp(now: u64) -> String {
    let time = jiff::Timestamp::from_nanosecond(i128::from(now)).unwrap_or_default();
    time.strftime("%Y-%m-%d %H:%M:%S%.3f").to_string()
}
