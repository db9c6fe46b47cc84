use proptest::prelude::*;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::testing::MemoryHost;

const SCOPE: PluginScope = PluginScope(7);
const A: ConfigId = ConfigId(1);
const B: ConfigId = ConfigId(2);
const C: ConfigId = ConfigId(3);
const D: ConfigId = ConfigId(4);

/// The events of a scope, in order. Each step takes a millisecond.
struct Scene(MemoryHost, u64);

impl Scene {
    fn new() -> Self {
        Scene(MemoryHost::default(), 0)
    }

    fn begin(&mut self, config: ConfigId) -> Line {
        self.1 += 1;
        begin(&self.0, SCOPE, config, UnixMillis(self.1)).unwrap().line
    }

    fn tick(&mut self, config: ConfigId) -> Succession {
        self.1 += 1;
        tick(&self.0, SCOPE, config).unwrap()
    }

    fn end(&mut self, config: ConfigId) {
        self.1 += 1;
        end(&self.0, SCOPE, config).unwrap();
    }

    /// The configurations that would take over what `config` of this line made now.
    fn heirs(&self, config: ConfigId, line: Line) -> Vec<ConfigId> {
        self.heirs_of(config, line, self.1)
    }

    fn heirs_of(&self, config: ConfigId, line: Line, made: u64) -> Vec<ConfigId> {
        let all = Succession::decode(read(&self.0, &SCOPE.key()).unwrap().as_deref());
        let takes = |own: &ConfigId| all.takes_over(*own, Origin { config, line }, UnixMillis(made));
        [A, B, C, D].into_iter().filter(takes).collect()
    }
}

#[test]
fn an_update_takes_over_what_was_made_before() {
    let mut scene = Scene::new();
    let line = scene.begin(A);
    scene.tick(A);
    assert_eq!(scene.heirs(A, line), []);
    let made = scene.1;
    assert_eq!(scene.begin(B), line);
    assert_eq!(scene.heirs_of(A, line, made), [], "it may only have been tested");
    scene.tick(B);
    assert_eq!(scene.heirs_of(A, line, made), [B]);
    assert_eq!(scene.heirs(A, line), [], "A keeps what it makes while it is drained, for a rollback");
    assert_eq!(scene.begin(C), line);
    scene.tick(C);
    assert_eq!(scene.heirs_of(A, line, made), [C], "the latest, also for messages that B has not taken over");
    scene.end(A);
    assert_eq!(scene.heirs(A, line), [C], "no other configuration is left to send it");
    assert_eq!(scene.heirs_of(C, line, made), []);
}

#[test]
fn an_update_that_was_only_tested_does_not_count() {
    let mut scene = Scene::new();
    let line = scene.begin(A);
    scene.tick(A);
    scene.begin(B);
    let made = scene.1;
    scene.1 += START_MS;
    assert_eq!(scene.begin(C), line, "nor does it live beside the next");
    scene.tick(C);
    assert_eq!(scene.heirs_of(A, line, made), [C]);
    // It is tested again, and takes effect.
    assert_eq!(scene.begin(B), line);
    scene.tick(B);
    assert_eq!(scene.heirs_of(A, line, made), [B]);
}

#[test]
fn the_former_configuration_waits_a_limited_time_for_the_update() {
    let mut scene = Scene::new();
    let line = scene.begin(A);
    scene.tick(A);
    let made = UnixMillis(scene.1);
    scene.begin(B);
    let all = scene.tick(B);
    let origin = Origin { config: A, line };
    let waits = |ms: u64| all.is_due_to_another(A, origin, made, UnixMillis(made.0 + ms));
    assert_eq!([waits(100), waits(2 * HANDOVER_MS)], [true, false], "an update whose VMs die delays nothing");
    assert!(!all.is_due_to_another(B, origin, made, made));
}

#[test]
fn configurations_that_start_together_take_over_nothing() {
    let mut scene = Scene::new();
    let lines = [A, B, C].map(|config| scene.begin(config));
    assert!(lines[0] != lines[1] && lines[1] != lines[2] && lines[0] != lines[2]);
    for config in [A, B, C] {
        scene.begin(config);
        scene.tick(config);
    }
    scene.begin(D);
    scene.tick(D);
    let made = 1;
    for (config, line) in [A, B, C].into_iter().zip(lines) {
        assert_eq!(scene.heirs_of(config, line, made), [], "it is unknown whose update D is");
    }
}

#[test]
fn a_rollback_is_an_update_when_the_former_one_has_ended() {
    let mut scene = Scene::new();
    let line = scene.begin(A);
    scene.tick(A);
    scene.begin(B);
    scene.tick(B);
    let made = scene.1;
    // Its VM died and was replaced while it was drained.
    scene.begin(A);
    assert_eq!(scene.heirs_of(B, line, made), []);
    scene.end(A);
    assert_eq!(scene.begin(A), line);
    scene.tick(A);
    assert_eq!(scene.heirs_of(B, line, made), [A]);
    // Or the proxy kept it, and ends the update.
    let mut scene = Scene::new();
    let line = scene.begin(A);
    scene.tick(A);
    scene.begin(B);
    scene.tick(B);
    scene.end(B);
    assert_eq!(scene.heirs(B, line), [A]);
}

#[test]
fn one_vm_does_not_end_a_configuration_that_others_keep_alive() {
    let mut scene = Scene::new();
    let line = scene.begin(A);
    scene.tick(A);
    scene.begin(B);
    scene.tick(B);
    scene.end(B);
    scene.tick(B);
    assert_eq!(scene.heirs_of(A, line, 0), [B]);
}

#[test]
fn scopes_are_separate_and_foreign_bytes_count_as_empty() {
    let host = MemoryHost::default();
    let first = begin(&host, PluginScope(1 << 40), A, UnixMillis(1)).unwrap();
    tick(&host, PluginScope(1 << 40), A).unwrap();
    assert_ne!(begin(&host, PluginScope(2 << 40), B, UnixMillis(2)).unwrap(), first);
    host.put(&SCOPE.key(), b"not ours").unwrap();
    assert_eq!(tick(&host, SCOPE, A), Ok(Succession::default()));
    begin(&host, SCOPE, A, UnixMillis(3)).unwrap();
    assert!(tick(&host, SCOPE, A).unwrap().find(A).is_some());
}

proptest! {
    /// In any history, at most one configuration takes over a message, and never across lines.
    #[test]
    fn no_configuration_takes_over_messages_of_another_line(steps in prop::collection::vec((0_u8..3, 1_u64..30), 0..80)) {
        let mut scene = Scene::new();
        let mut lines = std::collections::BTreeMap::new();
        for (step, config) in steps {
            let config = ConfigId(config);
            match step {
                0 => { lines.insert(config.0, scene.begin(config)); }
                1 => { scene.tick(config); }
                _ => scene.end(config),
            }
            let all = Succession::decode(read(&scene.0, &SCOPE.key()).unwrap().as_deref());
            prop_assert!(all.entries.len() <= CAPACITY);
            prop_assert_eq!(&Succession::decode(Some(&all.encode())), &all);
            for (maker, line) in &lines {
                let origin = Origin { config: ConfigId(*maker), line: *line };
                let heirs: Vec<u64> = (1..30)
                    .filter(|own| all.takes_over(ConfigId(*own), origin, UnixMillis(0)))
                    .collect();
                prop_assert!(heirs.len() <= 1);
                prop_assert!(heirs.iter().all(|heir| all.find(ConfigId(*heir)).unwrap().line == *line && heir != maker));
            }
        }
    }
}
