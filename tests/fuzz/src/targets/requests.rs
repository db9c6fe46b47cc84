//! Header pairs as a host serializes them, and a whole request with its response.

use tollbell_core::host::Headers;

use super::exchange;
use super::world::World;

/// Takes any bytes.
pub fn run(bytes: &[u8]) {
    let mut world = World::new();
    match bytes.split_first() {
        // Serialized by a host.
        Some((0, serialized)) => {
            let headers = Headers(serialized.to_vec());
            let response: [(&[u8], &[u8]); 1] = [(b":status", b"503")];
            exchange::of(&mut world, &headers.pairs(), b"", &response, b"");
        }
        _ => {
            exchange::run(&mut world, bytes);
        }
    }
    world.tick(500);
}
