//! The configuration: JSON text or a serialized protobuf `Struct`. What is accepted also runs.

use tollbell_core::config::Config;

use super::world::World;

/// Takes any bytes.
pub fn run(bytes: &[u8]) {
    let Ok((config, warnings)) = Config::load(bytes) else { return };
    for warning in warnings {
        let _ = warning.to_string();
    }
    let mut world = World::of(config);
    world.get("/", "test");
    world.get("/orders/1?api_key=test", "");
    for _ in 0..3 {
        world.tick(500);
    }
    world.shut_down();
}
