//! Events that an application posts to the admin endpoint.

use super::exchange;
use super::world::World;

/// Takes any bytes.
pub fn run(bytes: &[u8]) {
    let request: [(&[u8], &[u8]); 4] = [
        (b":method", b"POST"),
        (b":path", b"/.tollbell/events"),
        (b":authority", b"gw.test"),
        (b"authorization", b"Bearer letmein"),
    ];
    World::with_shared(|world| {
        exchange::of(world, &request, bytes, &[], b"");
        for (id, _) in world.tick(500) {
            world.reply(id, 503);
        }
        world.tick(5000);
    });
}
