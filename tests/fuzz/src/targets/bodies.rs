//! Bodies that are observed: compressed, JSON, forms; by each of the presets and by rules.

use std::io::Write;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};

use super::exchange;
use super::input::{pairs, parts};
use super::world::World;

/// Takes any bytes.
pub fn run(bytes: &[u8]) {
    let Some((form, rest)) = bytes.split_first() else { return };
    let [request, request_body, response, response_body] = parts(rest);
    let (mut request, mut response) = (pairs(request), pairs(response));
    let pack = |body: &[u8], headers: &mut Vec<(&[u8], &[u8])>, form: u8| match form & 3 {
        1 => {
            headers.push((b"content-encoding", b"gzip"));
            written(GzEncoder::new(Vec::new(), Compression::fast()), body, GzEncoder::finish)
        }
        2 => {
            headers.push((b"content-encoding", b"deflate"));
            written(ZlibEncoder::new(Vec::new(), Compression::fast()), body, ZlibEncoder::finish)
        }
        _ => body.to_vec(),
    };
    let request_body = pack(request_body, &mut request, *form);
    let response_body = pack(response_body, &mut response, form >> 2);
    World::with_shared(|world| {
        exchange::of(world, &request, &request_body, &response, &response_body);
        for (id, _) in world.tick(500) {
            world.reply(id, 200);
        }
    });
}

fn written<W: Write>(mut encoder: W, body: &[u8], finish: fn(W) -> std::io::Result<Vec<u8>>) -> Vec<u8> {
    // Nothing that writes to memory fails.
    let _ = encoder.write_all(body);
    finish(encoder).unwrap_or_default()
}
