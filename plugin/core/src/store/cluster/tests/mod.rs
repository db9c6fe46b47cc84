mod model;

use super::*;
use crate::store::client::Client;
use model::{Model, PORTS, key_on, node, run, script};
use proptest::prelude::*;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn ran() -> Outcome {
    Outcome::Ran(Reply::Integer(1))
}

/// A client that knows the map.
fn settled(model: &mut Model) -> Client {
    let mut client = Model::client("");
    model.call(&mut client, &[run(&key_on(1, 0), "first")], |_| 0).unwrap();
    model.callouts.clear();
    client
}

fn one_on_each() -> Vec<Call> {
    PORTS.iter().map(|port| run(&key_on(*port, 0), &format!("on {port}"))).collect()
}

#[test]
fn the_first_call_finds_its_nodes_and_the_next_goes_there() {
    let mut model = Model::new();
    let mut client = Model::client("secret");
    let outcomes = model.call(&mut client, &one_on_each(), |_| 0);
    assert_eq!(outcomes, Some(vec![ran(); 3]));
    assert!(model.ran.values().all(|times| *times == 1), "{:?}", model.ran);
    model.callouts.clear();
    assert_eq!(model.call(&mut client, &one_on_each(), |_| 0), Some(vec![ran(); 3]));
    let mut ports: Vec<u16> = model.callouts.iter().map(|(port, _)| *port).collect();
    ports.sort_unstable();
    assert_eq!(ports, PORTS);
    assert!(model.callouts.iter().all(|(_, commands)| commands[0] == ["AUTH", "secret"] && commands.len() == 2));
    assert_eq!(client.health().failures, 0);
    assert!(client.health().last_answer > UnixMillis(0));
}

#[test]
fn the_map_is_asked_again_when_it_is_old() {
    for is_old in [false, true] {
        let mut model = Model::new();
        model.is_old = is_old;
        let mut client = settled(&mut model);
        let is_map = |commands: &[Vec<String>]| commands[0][0] == "CLUSTER";
        model.now += MAP_HOLDS_MS - 10;
        for _ in 0..8 {
            model.call(&mut client, &one_on_each(), |_| 0).unwrap();
        }
        let maps = model.callouts.iter().filter(|(_, commands)| is_map(commands)).map(|(_, commands)| &commands[0][1]);
        assert_eq!(maps.collect::<Vec<_>>(), [if is_old { "SLOTS" } else { "SHARDS" }]);
    }
}

#[test]
fn a_script_that_a_node_does_not_know_is_sent_to_it_once() {
    let mut model = Model::new();
    let mut client = settled(&mut model);
    let calls: Vec<Call> = [1, 1, 2].iter().enumerate().map(|(n, port)| script(&key_on(*port, n))).collect();
    assert_eq!(model.call(&mut client, &calls, |_| 0), Some(vec![ran(); 3]));
    let texts = model.callouts.iter().flat_map(|(_, commands)| commands).filter(|command| command[0] == "EVAL");
    assert_eq!(texts.count(), 2);
    model.callouts.clear();
    model.call(&mut client, &calls, |_| 0).unwrap();
    assert_eq!(model.callouts.len(), 2);
}

#[test]
fn a_part_follows_its_key_while_its_slot_moves() {
    let mut model = Model::new();
    let mut client = settled(&mut model);
    let key = key_on(1, 0);
    model.moving.insert(slot(&key), 3);
    let call = |name| [run(&key, name)];
    model.call(&mut client, &call("stays"), |_| 0).unwrap();
    assert_eq!(model.callouts.len(), 1);
    model.moved.insert(key.clone());
    model.callouts.clear();
    assert_eq!(model.call(&mut client, &call("asks"), |_| 0), Some(vec![ran()]));
    let ports: Vec<u16> = model.callouts.iter().map(|(port, _)| *port).collect();
    assert_eq!(ports, [1, 3], "ASK changes no owner");
    assert_eq!(model.callouts[1].1[0], ["ASKING"]);
    model.owners[usize::from(slot(&key))] = 3;
    model.moving.clear();
    model.callouts.clear();
    assert_eq!(model.call(&mut client, &call("moved"), |_| 0), Some(vec![ran()]));
    model.call(&mut client, &call("knows"), |_| 0).unwrap();
    let ports = model.callouts.iter().filter(|(_, commands)| commands[0][0] == "RUN").map(|(port, _)| *port);
    assert_eq!(ports.collect::<Vec<_>>(), [1, 3, 3], "MOVED changes the owner");
    assert_eq!(model.ran.values().max(), Some(&1));
}

#[test]
fn a_node_that_fails_loses_only_its_own_parts() {
    let mut model = Model::new();
    let mut client = settled(&mut model);
    model.down.insert(2);
    let outcomes = model.call(&mut client, &one_on_each(), |_| 0);
    assert_eq!(outcomes, Some(vec![ran(), Outcome::Unknown, ran()]));
    assert_eq!((client.health().failures, client.health().trouble.as_str()), (1, "10.0.0.1:2: status 503"));
    model.callouts.clear();
    for _ in 0..20 {
        model.call(&mut client, &one_on_each(), |_| 0).unwrap();
    }
    let failed = model.callouts.iter().filter(|(port, _)| *port == 2).count();
    assert_eq!(failed, 1, "calls to other nodes do not wait for it");
    // Alone, it holds up nobody.
    let alone = [run(&key_on(2, 0), "alone")];
    assert_eq!(model.call(&mut client, &alone, |_| 0), Some(vec![Outcome::Unknown]));
    assert_eq!(model.callouts.last().unwrap().0, 2);
    // Its successor has its slots.
    for owner in &mut model.owners {
        *owner = if *owner == 2 { 4 } else { *owner };
    }
    model.now += MAP_RETRY_MS;
    model.call(&mut client, &one_on_each(), |_| 0).unwrap();
    assert_eq!(model.call(&mut client, &one_on_each(), |_| 0), Some(vec![ran(); 3]));
    assert_eq!((client.health().failures, client.health().trouble.as_str()), (0, ""));
}

#[test]
fn a_node_that_rests_is_tried_again() {
    let mut model = Model::new();
    let mut client = settled(&mut model);
    model.down.insert(2);
    for _ in 0..3 {
        model.call(&mut client, &one_on_each(), |_| 0).unwrap();
    }
    model.down.clear();
    model.now += 1000;
    // The time is known from replies.
    model.call(&mut client, &one_on_each(), |_| 0).unwrap();
    assert_eq!(model.call(&mut client, &one_on_each(), |_| 0), Some(vec![ran(); 3]));
}

#[test]
fn nodes_that_name_each_other_end_the_call() {
    let mut model = Model::new();
    let mut client = settled(&mut model);
    let key = key_on(1, 0);
    for (port, other) in [(1, 2), (2, 1)] {
        model.errors.insert(port, format!("MOVED {} 10.0.0.1:{other}", slot(&key)));
    }
    assert_eq!(model.call(&mut client, &[run(&key, "loop")], |_| 0), Some(vec![Outcome::Unknown]));
    let hops = model.callouts.iter().filter(|(_, commands)| commands[0][0] == "RUN").count();
    assert_eq!(hops, usize::from(MAX_HOPS));
    model.errors.clear();
    assert_eq!(model.call(&mut client, &[run(&key, "found")], |_| 0), Some(vec![ran()]));
}

#[test]
fn errors_of_a_cluster_are_failures_that_the_next_call_settles() {
    for error in ["TRYAGAIN Multiple keys request during rehashing", "CLUSTERDOWN The cluster is down", "ERR x"] {
        let mut model = Model::new();
        let mut client = settled(&mut model);
        model.errors.insert(1, error.to_owned());
        assert_eq!(model.call(&mut client, &one_on_each(), |_| 0), Some(vec![Outcome::Unknown, ran(), ran()]));
        assert_eq!(client.health().trouble, format!("10.0.0.1:1: {error}"));
        model.errors.clear();
        assert_eq!(model.call(&mut client, &one_on_each(), |_| 0), Some(vec![ran(); 3]));
        assert_eq!(client.health().failures, 0);
    }
}

#[test]
fn without_any_node_every_part_is_unknown() {
    let mut model = Model::new();
    let mut client = Model::client("");
    model.down.extend(PORTS);
    for _ in 0..10 {
        assert_eq!(model.call(&mut client, &one_on_each(), |_| 0), Some(vec![Outcome::Unknown; 3]));
    }
    assert_eq!((client.health().failures, client.health().last_answer), (10, UnixMillis(0)));
    let mut asked: Vec<u16> = model.callouts.iter().map(|(port, _)| *port).collect();
    asked.sort_unstable();
    asked.dedup();
    assert_eq!(asked, [1, 2], "all seeds are asked");
    model.down.clear();
    model.now += 1000;
    model.call(&mut client, &one_on_each(), |_| 0).unwrap();
    assert_eq!(model.call(&mut client, &one_on_each(), |_| 0), Some(vec![ran(); 3]));
}

#[test]
fn a_callout_that_the_proxy_refuses_runs_nothing() {
    let host = crate::testing::MemoryHost::default();
    let mut client = Model::client("");
    for _ in 0..2 {
        host.refuse_next_callout(crate::host::CalloutRefused::UnknownCluster);
    }
    assert!(!client.send(&host, &one_on_each()));
    assert!(!client.is_busy() && client.health().failures == 1);
    assert_eq!(client.health().trouble, format!("{}: the cluster is unknown to the proxy", node(2)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Nodes fail and come back, and slots move. No part runs twice, each part that is said to have run did, and after
    /// all that each part runs.
    #[test]
    fn random_faults_of_a_cluster_run_no_part_twice(
        steps in proptest::collection::vec((0_u8..8, 0_usize..3, 0_usize..6, any::<u32>()), 1..60),
    ) {
        let mut model = Model::new();
        let mut client = Model::client("");
        let mut count = 0;
        let keys: Vec<String> = (0..6).map(|number| key_on(PORTS[number % 3], number)).collect();
        for (kind, place, number, seed) in steps {
            let (port, key) = (PORTS[place], &keys[number]);
            let of_key = slot(key);
            match kind {
                0 => drop(model.down.insert(port)),
                1 => model.down.clear(),
                2 if model.owners[usize::from(of_key)] != port => drop(model.moving.insert(of_key, port)),
                3 if model.moving.contains_key(&of_key) => drop(model.moved.insert(key.clone())),
                4 => {
                    if let Some(to) = model.moving.remove(&of_key) {
                        model.moved.remove(key);
                        model.owners[usize::from(of_key)] = to;
                    }
                }
                5 => model.now += u64::from(seed % 2000),
                _ => {
                    let names: Vec<String> = keys.iter().map(|_| { count += 1; format!("part {count}") }).collect();
                    let calls: Vec<Call> = keys.iter().zip(&names).map(|(key, name)| run(key, name)).collect();
                    let mut random = seed;
                    let pick = |open: usize| {
                        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                        random as usize % open
                    };
                    let Some(outcomes) = model.call(&mut client, &calls, pick) else { continue };
                    for (name, outcome) in names.iter().zip(outcomes) {
                        let times = model.ran.get(name).copied().unwrap_or_default();
                        prop_assert_eq!(times, u32::from(outcome == ran()), "{}", name);
                    }
                }
            }
        }
        model.down.clear();
        for _ in 0..2 {
            model.now += 2000;
            model.call(&mut client, &[run(&keys[0], "wakes"), run(&keys[1], "wakes"), run(&keys[2], "wakes")], |_| 0);
        }
        let calls: Vec<Call> = keys.iter().map(|key| run(key, "last")).collect();
        prop_assert_eq!(model.call(&mut client, &calls, |_| 0), Some(vec![ran(); 6]));
    }
}
