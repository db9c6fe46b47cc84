//! Writes the lines of the `log` crate to the proxy's log.

use crate::abi::{self, LogLevel};

struct ProxyLog;

static LOG: ProxyLog = ProxyLog;

impl log::Log for ProxyLog {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        // Libraries log values of templates at debug level, and so keys.
        metadata.level() <= log::max_level() && metadata.target().starts_with("tollbell")
    }

    fn log(&self, record: &log::Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let level = match record.level() {
            log::Level::Trace => LogLevel::Trace,
            log::Level::Debug => LogLevel::Debug,
            log::Level::Info => LogLevel::Info,
            log::Level::Warn => LogLevel::Warn,
            log::Level::Error => LogLevel::Error,
        };
        abi::log(level, &record.args().to_string());
    }

    fn flush(&self) {}
}

/// Writes the lines of the `log` crate, and of a panic, to the proxy's log. It may be called again.
pub(crate) fn start() {
    // At the second call in a VM the logger is already set.
    let _ = log::set_logger(&LOG);
    log::set_max_level(match abi::log_level().unwrap_or(LogLevel::Info as u32) {
        0 => log::LevelFilter::Trace,
        1 => log::LevelFilter::Debug,
        2 => log::LevelFilter::Info,
        3 => log::LevelFilter::Warn,
        _ => log::LevelFilter::Error,
    });
    std::panic::set_hook(Box::new(|panic| abi::log(LogLevel::Critical, &panic.to_string())));
}
