//! Header pairs as a host serializes them, and a whole request with its response.

use tollbell_core::host::Headers;

use super::exchange;
use super::world::World;

/// Takes any bytes.
pub fn run(bytes: &[u8]) {
    World::with_shared(|world| match bytes.split_first() {
        // Serialized by a host.
        Some((0, serialized)) => {
            let headers = Headers(serialized.to_vec());
            let response: [(&[u8], &[u8]); 1] = [(b":status", b"503")];
            exchange::of(world, &headers.pairs(), b"", &response, b"");
        }
        _ => {
            exchange::run(world, bytes);
        }
    });
}
