//! The ABI's enumerations with their numbers (proxy-wasm/spec, abi-versions/v0.2.1, and Envoy's own additions).

/// What a hostcall answers other than OK.
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
    /// Its number.
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

/// What `proxy_get_status` tells after a callout that was reset.
pub(crate) const BROKEN_CONNECTION: u32 = 11;

/// Which ABI a module speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum AbiVersion {
    /// `proxy_abi_version_0_1_0`
    V0_1_0,
    /// `proxy_abi_version_0_2_0`
    V0_2_0,
    /// `proxy_abi_version_0_2_1`
    V0_2_1,
}

impl AbiVersion {
    /// The marker exports, with what they mean.
    pub(crate) const MARKERS: [(&'static str, AbiVersion); 3] = [
        ("proxy_abi_version_0_1_0", AbiVersion::V0_1_0),
        ("proxy_abi_version_0_2_0", AbiVersion::V0_2_0),
        ("proxy_abi_version_0_2_1", AbiVersion::V0_2_1),
    ];
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
    /// All of them, by number.
    pub(crate) const ALL: [LogLevel; 6] =
        [LogLevel::Trace, LogLevel::Debug, LogLevel::Info, LogLevel::Warn, LogLevel::Error, LogLevel::Critical];

    /// As Envoy writes it.
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

/// A header map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MapType {
    RequestHeaders,
    RequestTrailers,
    ResponseHeaders,
    ResponseTrailers,
    GrpcInitialMetadata,
    GrpcTrailingMetadata,
    CallResponseHeaders,
    CallResponseTrailers,
}

impl MapType {
    const ALL: [MapType; 8] = [
        MapType::RequestHeaders,
        MapType::RequestTrailers,
        MapType::ResponseHeaders,
        MapType::ResponseTrailers,
        MapType::GrpcInitialMetadata,
        MapType::GrpcTrailingMetadata,
        MapType::CallResponseHeaders,
        MapType::CallResponseTrailers,
    ];

    pub(crate) fn from_code(code: u32) -> Result<Self, Status> {
        from_code(&Self::ALL, code)
    }
}

/// A buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BufferType {
    RequestBody,
    ResponseBody,
    DownstreamData,
    UpstreamData,
    CallResponseBody,
    GrpcMessage,
    VmConfiguration,
    PluginConfiguration,
    CallData,
}

impl BufferType {
    const ALL: [BufferType; 9] = [
        BufferType::RequestBody,
        BufferType::ResponseBody,
        BufferType::DownstreamData,
        BufferType::UpstreamData,
        BufferType::CallResponseBody,
        BufferType::GrpcMessage,
        BufferType::VmConfiguration,
        BufferType::PluginConfiguration,
        BufferType::CallData,
    ];

    pub(crate) fn from_code(code: u32) -> Result<Self, Status> {
        from_code(&Self::ALL, code)
    }
}

/// A stream's half, or a connection's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StreamType {
    Request,
    Response,
    Downstream,
    Upstream,
}

impl StreamType {
    const ALL: [StreamType; 4] =
        [StreamType::Request, StreamType::Response, StreamType::Downstream, StreamType::Upstream];

    pub(crate) fn from_code(code: u32) -> Result<Self, Status> {
        from_code(&Self::ALL, code)
    }
}

/// A metric's kind.
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

/// What a headers callback wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeadersStatus {
    Continue,
    /// The headers wait, the body goes on to this filter.
    StopIteration,
    /// Everything waits.
    StopAll,
}

impl HeadersStatus {
    /// `allow_stop_iteration` is the plugin's `allow_on_headers_stop_iteration`: without it, Pause stops all.
    pub(crate) fn from_code(code: u32, stopped: bool, allow_stop_iteration: bool) -> Self {
        match code {
            _ if stopped => HeadersStatus::StopAll,
            0 => HeadersStatus::Continue,
            1 if allow_stop_iteration => HeadersStatus::StopIteration,
            // Envoy knows 2 as ContinueAndEndStream, and its conversion makes Continue of it.
            2 => HeadersStatus::Continue,
            _ => HeadersStatus::StopAll,
        }
    }
}

/// What a body callback wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DataStatus {
    Continue,
    /// 1 StopIterationAndBuffer: more than the buffer's limit is an error.
    Buffer,
    /// 2 StopIterationAndWatermark: at the limit, the peer is slowed down.
    Watermark,
    /// 3 StopIterationNoBuffer: what is left of the chunk is dropped.
    NoBuffer,
}

impl DataStatus {
    pub(crate) fn from_code(code: u32, stopped: bool) -> Self {
        match code {
            _ if stopped => DataStatus::NoBuffer,
            0 => DataStatus::Continue,
            1 => DataStatus::Buffer,
            2 => DataStatus::Watermark,
            _ => DataStatus::NoBuffer,
        }
    }
}

fn from_code<T: Copy>(all: &[T], code: u32) -> Result<T, Status> {
    usize::try_from(code).ok().and_then(|index| all.get(index)).copied().ok_or(Status::BadArgument)
}
