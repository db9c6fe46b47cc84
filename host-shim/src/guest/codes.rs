//! The enumerations of the ABI that only this room and its callers use. `base` has those that `state` uses too.

use crate::base::{MapKind, Status, from_code};

/// The status of `proxy_get_status` after a callout that was reset.
pub const BROKEN_CONNECTION: u32 = 11;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AbiVersion {
    V0_1_0,
    V0_2_0,
    V0_2_1,
}

impl AbiVersion {
    /// The names of the marker exports, with their versions.
    pub const MARKERS: [(&'static str, AbiVersion); 3] = [
        ("proxy_abi_version_0_1_0", AbiVersion::V0_1_0),
        ("proxy_abi_version_0_2_0", AbiVersion::V0_2_0),
        ("proxy_abi_version_0_2_1", AbiVersion::V0_2_1),
    ];
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapType {
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

    pub fn from_code(code: u32) -> Result<Self, Status> {
        from_code(&Self::ALL, code)
    }

    pub fn kind(self) -> MapKind {
        match self {
            MapType::RequestHeaders => MapKind::Request,
            MapType::RequestTrailers => MapKind::RequestTrailers,
            MapType::ResponseHeaders | MapType::CallResponseHeaders | MapType::GrpcInitialMetadata => MapKind::Response,
            MapType::ResponseTrailers | MapType::CallResponseTrailers | MapType::GrpcTrailingMetadata => {
                MapKind::ResponseTrailers
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BufferType {
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

    pub fn from_code(code: u32) -> Result<Self, Status> {
        from_code(&Self::ALL, code)
    }
}

/// A half of a stream or of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamType {
    Request,
    Response,
    Downstream,
    Upstream,
}

impl StreamType {
    const ALL: [StreamType; 4] =
        [StreamType::Request, StreamType::Response, StreamType::Downstream, StreamType::Upstream];

    pub fn from_code(code: u32) -> Result<Self, Status> {
        from_code(&Self::ALL, code)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadersStatus {
    Continue,
    /// The headers wait. The filter still receives the body.
    StopIteration,
    /// Everything waits.
    StopAll,
}

impl HeadersStatus {
    /// `allow_stop_iteration` is the plugin's `allow_on_headers_stop_iteration`. Without it, Pause stops everything.
    pub fn from_code(code: u32, stopped: bool, allow_stop_iteration: bool) -> Self {
        match code {
            _ if stopped => HeadersStatus::StopAll,
            0 => HeadersStatus::Continue,
            1 if allow_stop_iteration => HeadersStatus::StopIteration,
            // In Envoy, 2 is ContinueAndEndStream, and its conversion changes it to Continue.
            2 => HeadersStatus::Continue,
            _ => HeadersStatus::StopAll,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataStatus {
    Continue,
    /// 1 StopIterationAndBuffer: a body above the limit of the buffer is an error.
    Buffer,
    /// 2 StopIterationAndWatermark: at the limit of the buffer, the peer must wait.
    Watermark,
    /// 3 StopIterationNoBuffer: the rest of the chunk is dropped.
    NoBuffer,
}

impl DataStatus {
    pub fn from_code(code: u32, stopped: bool) -> Self {
        match code {
            _ if stopped => DataStatus::NoBuffer,
            0 => DataStatus::Continue,
            1 => DataStatus::Buffer,
            2 => DataStatus::Watermark,
            _ => DataStatus::NoBuffer,
        }
    }
}
