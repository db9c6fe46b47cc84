//! Envoy's TCP connection pool: the body of a request goes raw over a connection of its own, and the bytes that come
//! back are the body of the response.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::Response;
use http_body_util::{BodyExt as _, Either};
use hyper::body::{Body, Frame, Incoming};
use tokio::io::{AsyncRead as _, AsyncWriteExt as _, ReadBuf, ReadHalf, WriteHalf};
use tokio::task::AbortHandle;

use super::connect::{Connector, Duplex, Peer};
use super::failure;
use crate::server::body::UpstreamBody;
use crate::traffic::LocalReply;

/// The most bytes that are read at once.
const READ: usize = 16 * 1024;

/// The body of an upstream's response: from HTTP, or from a raw connection.
pub type AnswerBody = Either<Incoming, RawBody>;

/// The connection broke off.
#[derive(Debug, thiserror::Error)]
#[error("connection termination")]
pub struct Terminated;

/// The bytes that a raw connection receives. Dropping it closes the connection.
pub struct RawBody {
    connection: ReadHalf<Box<dyn Duplex>>,
    upload: AbortHandle,
}

/// Connects, and answers 200. As in Envoy, the connection alone makes the response.
///
/// # Errors
/// Envoy's reply if the connection cannot be made.
pub async fn send(connector: Connector, body: UpstreamBody) -> Result<Response<AnswerBody>, LocalReply> {
    let (stream, peer) = connector.connect().await.map_err(|error| failure::of_connection(&*error))?;
    let (connection, writer) = tokio::io::split(stream);
    let upload = tokio::task::spawn_local(upload(body, writer)).abort_handle();
    let mut response = Response::new(Either::Right(RawBody { connection, upload }));
    response.extensions_mut().insert(Peer(peer));
    Ok(response)
}

/// Writes the body, and then closes this side of the connection.
async fn upload(mut body: UpstreamBody, mut writer: WriteHalf<Box<dyn Duplex>>) {
    if body.is_end_stream() {
        // For a request without a body, Envoy does not close its side.
        return std::future::pending().await;
    }
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(data) = frame.into_data() else { break };
        // The reader sees that the connection has broken off.
        if writer.write_all(&data).await.is_err() {
            return;
        }
    }
    let _ = writer.shutdown().await;
}

impl Body for RawBody {
    type Data = Bytes;
    type Error = Terminated;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Terminated>>> {
        let mut bytes = BytesMut::zeroed(READ);
        let mut buffer = ReadBuf::new(&mut bytes);
        let read = ready!(Pin::new(&mut self.get_mut().connection).poll_read(context, &mut buffer));
        let length = buffer.filled().len();
        Poll::Ready(match read {
            Err(_) => Some(Err(Terminated)),
            Ok(()) if length == 0 => None,
            Ok(()) => {
                bytes.truncate(length);
                Some(Ok(Frame::data(bytes.freeze())))
            }
        })
    }
}

impl Drop for RawBody {
    fn drop(&mut self) {
        self.upload.abort();
    }
}
