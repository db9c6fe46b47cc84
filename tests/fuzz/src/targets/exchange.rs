//! A request with its body, and its response with its body, as text.

use tollbell_core::host::Flow;

use super::input::{pairs, parts};
use super::world::World;

/// Runs one on the first VM; what it makes is sent.
///
/// ```text
/// :method: POST
/// :path: /orders/1
/// --
/// the request's body
/// --
/// :status: 200
/// --
/// the response's body
/// ```
pub fn run(world: &mut World, bytes: &[u8]) -> Flow {
    let [request, request_body, response, response_body] = parts(bytes);
    let flow = of(world, &pairs(request), request_body, &pairs(response), response_body);
    for (id, callout) in world.tick(500) {
        assert!(callout.timeout_ms > 0, "{callout:?}");
        world.reply(id, 200);
    }
    flow
}

/// The same, its headers taken apart.
pub fn of(
    world: &mut World,
    request: &[(&[u8], &[u8])],
    request_body: &[u8],
    response: &[(&[u8], &[u8])],
    response_body: &[u8],
) -> Flow {
    let stream = world.open(request);
    let flow = world.vms[0].on_request_headers(&world.host, &stream, request_body.is_empty());
    // What is held shows its body as a whole.
    let most = if flow == Flow::Pause { request_body.len().max(1) } else { 1000 };
    let pieces = request_body.len().div_ceil(most);
    for (number, piece) in request_body.chunks(most).enumerate() {
        stream.request_body.replace(piece.to_vec());
        let is_last = number + 1 == pieces;
        assert_eq!(flow, world.vms[0].on_request_body(&world.host, &stream, piece.len(), is_last));
    }
    if flow == Flow::Continue {
        assert!(stream.answered.borrow().is_none(), "what goes on is not answered");
        let named = response.iter().map(|(name, value)| (String::from_utf8_lossy(name).into_owned(), value.to_vec()));
        stream.response.borrow_mut().extend(named);
        world.vms[0].on_response_headers(&world.host, &stream, response_body.is_empty());
        for piece in response_body.chunks(1000) {
            stream.response_body.replace(piece.to_vec());
            world.vms[0].on_response_body(&world.host, &stream, piece.len(), false);
        }
        world.vms[0].on_response_trailers(&world.host, &stream);
    }
    world.close(&stream);
    flow
}
