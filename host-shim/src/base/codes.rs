//! The enumerations of the ABI with their numbers, from proxy-wasm/spec, abi-versions/v0.2.1, and Envoy's additions.

/// A status that a hostcall returns, other than OK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// 1
    NotFound,
    /// 2
    BadArgument,
    /// 3
    SerializationFailure,
    /// 4
    ParseFailure,
    /// 6
    InvalidMemoryAccess,
    /// 7
    Empty,
    /// 8
    CasMismatch,
    /// 10
    InternalFailure,
    /// 12
    Unimplemented,
}

impl Status {
    /// Returns the number of the status.
    pub fn code(self) -> u32 {
        match self {
            Status::NotFound => 1,
            Status::BadArgument => 2,
            Status::SerializationFailure => 3,
            Status::ParseFailure => 4,
            Status::InvalidMemoryAccess => 6,
            Status::Empty => 7,
            Status::CasMismatch => 8,
            Status::InternalFailure => 10,
            Status::Unimplemented => 12,
        }
    }
}

/// A log level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// 0
    Trace,
    /// 1
    Debug,
    /// 2
    Info,
    /// 3
    Warn,
    /// 4
    Error,
    /// 5
    Critical,
}

impl LogLevel {
    /// All levels in the order of their numbers.
    pub(crate) const ALL: [LogLevel; 6] =
        [LogLevel::Trace, LogLevel::Debug, LogLevel::Info, LogLevel::Warn, LogLevel::Error, LogLevel::Critical];

    /// Returns the name of the level in Envoy's log.
    pub fn name(self) -> &'static str {
        match self {
            LogLevel::Trace => "trace",
            LogLevel::Debug => "debug",
            LogLevel::Info => "info",
            LogLevel::Warn => "warning",
            LogLevel::Error => "error",
            LogLevel::Critical => "critical",
        }
    }
}

/// The kind of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricType {
    /// 0
    Counter,
    /// 1
    Gauge,
    /// 2
    Histogram,
}

impl MetricType {
    const ALL: [MetricType; 3] = [MetricType::Counter, MetricType::Gauge, MetricType::Histogram];

    pub(crate) fn from_code(code: u32) -> Result<Self, Status> {
        from_code(&Self::ALL, code)
    }

    pub(crate) fn code(self) -> u32 {
        match self {
            MetricType::Counter => 0,
            MetricType::Gauge => 1,
            MetricType::Histogram => 2,
        }
    }
}

/// # Errors
/// BadArgument if no value has this number.
pub(crate) fn from_code<T: Copy>(all: &[T], code: u32) -> Result<T, Status> {
    usize::try_from(code).ok().and_then(|index| all.get(index)).copied().ok_or(Status::BadArgument)
}
