//! What three Envoys on one Redis send together: one message of a cause, one cap, one digest, and the messages of a
//! member that was killed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tollbell_tests::client::{count_status, get_with_key, load};
use tollbell_tests::project_root;
use tollbell_tests::server::{Manner, Received};

use super::envoys::{Fleet, config};
use crate::support::{SOON, eventually, hook};

/// A header of messages that nobody else may see.
const SECRET: &str = "only-for-the-receiver";

/// How long after a member's death its messages may take.
const TAKE_OVER: Duration = Duration::from_secs(10);

/// A handler of AuthFailure with these settings, and delivery with these.
fn wrong_keys(handler: Value, delivery: Value) -> Value {
    let mut config = config(json!({}));
    let mut hook = hook("/auth", 0);
    for (name, value) in handler.as_object().into_iter().flatten() {
        hook["handler_meta"][name] = value.clone();
    }
    config["apis"][0]["event_handlers"]["events"] = json!({ "AuthFailure": [hook] });
    config["delivery"] = delivery;
    config
}

impl Fleet {
    /// Sends `count` requests with a wrong key to a member.
    async fn fail(&self, member: usize, count: usize) -> Result<()> {
        let key = |_| ("/orders/1".to_owned(), "wrong-key".to_owned());
        let replies = load(self.envoys[member].port, 8, count, key).await?;
        ensure!(count_status(&replies, 403) == count, "not all were refused");
        Ok(())
    }

    /// Some of the messages that Redis has.
    fn bodies_in_redis(&self) -> Result<Vec<String>> {
        let mut bodies = Vec::new();
        for key in self.redis.run(&["KEYS", "*:held:*"])?.lines().filter(|line| line.contains(":held:")) {
            let ids = self.redis.run(&["HRANDFIELD", key, "20"])?;
            for id in ids.lines().skip(1).filter(|line| !line.starts_with('$')) {
                let body = self.redis.run(&["HGET", key, id])?;
                let body = body.lines().find_map(|line| line.strip_prefix('m')).context("no message")?;
                bodies.push(String::from_utf8_lossy(&STANDARD.decode(body)?).into_owned());
            }
        }
        Ok(bodies)
    }

    /// The number of messages that Redis holds.
    fn held_in_redis(&self) -> Result<usize> {
        let mut held = 0;
        for key in self.redis.run(&["KEYS", "*:held:*"])?.lines().filter(|line| line.contains(":held:")) {
            held += self.redis.run(&["HLEN", key])?.trim_start_matches(':').trim().parse::<usize>()?;
        }
        Ok(held)
    }
}

/// The numbers of messages that were accepted, by their ids.
fn accepted(received: &[Received]) -> BTreeMap<String, usize> {
    let mut accepted = BTreeMap::new();
    for message in received.iter().filter(|message| message.answered == 200) {
        *accepted.entry(message.header("webhook-id").unwrap_or_default().to_owned()).or_default() += 1;
    }
    accepted
}

/// Kills an Envoy that holds this number of messages, and returns what the receiver accepted.
async fn kill_with_messages(messages: usize, config: &Value) -> Result<Vec<Received>> {
    let mut fleet = Fleet::start(3, config).await?;
    fleet.receiver.set_manner(Manner { status: 503, ..Manner::default() });
    fleet.fail(0, messages).await?;
    eventually("Redis holds all messages", async || Ok(fleet.held_in_redis()? == messages)).await?;
    let bodies = fleet.bodies_in_redis()?;
    ensure!(bodies.iter().any(|body| body.contains("wrong-key")), "the text is there");
    ensure!(!bodies.iter().any(|body| body.contains(SECRET) || body.contains("/auth")), "a secret is in Redis");
    drop(fleet.envoys.remove(0));
    fleet.receiver.set_manner(Manner::default());
    let killed = Instant::now();
    while accepted(&fleet.receiver.received()).len() < messages {
        let arrived = accepted(&fleet.receiver.received()).len();
        ensure!(killed.elapsed() < TAKE_OVER, "{arrived} messages arrived");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    println!("{messages} messages arrived within {:?} after the kill", killed.elapsed());
    tokio::time::sleep(Duration::from_secs(2)).await;
    let accepted = accepted(&fleet.receiver.received());
    ensure!(accepted.len() == messages && accepted.values().all(|times| *times == 1), "{accepted:?}");
    eventually("Redis holds none any more", async || Ok(fleet.held_in_redis()? == 0)).await?;
    Ok(fleet.receiver.received().into_iter().filter(|message| message.answered == 200).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_messages_of_a_killed_envoy_arrive_once() -> Result<()> {
    let delivery = json!({ "capacity": 2048, "max_attempts": 20, "base_delay_ms": 1000, "max_delay_ms": 60_000 });
    let handler = json!({ "max_per_minute": 0, "header_map": { "x-token": SECRET } });
    let received = kill_with_messages(500, &wrong_keys(handler, delivery)).await?;
    ensure!(received.iter().all(|message| message.header("x-token") == Some(SECRET)), "a header lacks");
    Ok(())
}

/// Redis drops the end of a long reply, so long messages come in pieces.
#[tokio::test(flavor = "multi_thread")]
async fn long_messages_of_a_killed_envoy_arrive_whole() -> Result<()> {
    const LENGTH: usize = 100_000;
    let mut config = wrong_keys(json!({ "max_per_minute": 0, "template_path": "long.json" }), json!({}));
    config["templates"] = json!({ "long.json": format!(r#"{{"key": "{{{{Meta.Key}}}}{}"}}"#, "x".repeat(LENGTH)) });
    let received = kill_with_messages(5, &config).await?;
    let lengths: Vec<usize> = received.iter().map(|message| message.body.len()).collect();
    ensure!(lengths.iter().all(|length| *length > LENGTH), "{lengths:?}");
    Ok(())
}

/// The rights in the documentation are enough, and no command is refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_user_of_redis_with_the_documented_rights_is_enough() -> Result<()> {
    let page = std::fs::read_to_string(project_root().join("docs/fleet.md"))?;
    let from = page.find("ACL SETUSER").context("no rights in docs/fleet.md")?;
    let rule = page[from..].split("```").next().unwrap_or_default();
    let mut config = wrong_keys(json!({ "event_timeout": 2, "digest": true }), json!({ "max_attempts": 2 }));
    config["store"]["redis"]["username"] = json!("gateway");
    config["store"]["redis"]["password"] = json!("change-me");
    let mut fleet = Fleet::start_with(2, &config, |redis| {
        redis.run(&rule.split_whitespace().collect::<Vec<_>>())?;
        redis.run(&["ACL", "SETUSER", "default", "-@all", "+acl", "+ping", "+keys", "+hlen"]).map(drop)
    })
    .await?;
    fleet.fail(0, 5).await?;
    ensure!(count_status(&fleet.load(4, 40).await?, 200) == 80);
    fleet.receiver.expect(2, SOON).await?;
    fleet.receiver.set_manner(Manner { status: 503, ..Manner::default() });
    tokio::time::sleep(Duration::from_secs(2)).await;
    fleet.fail(0, 1).await?;
    eventually("Redis holds the message", async || Ok(fleet.held_in_redis()? == 1)).await?;
    drop(fleet.envoys.remove(0));
    eventually("it was taken over", async || Ok(fleet.envoys[0].log().contains("taken over"))).await?;
    let refusals = fleet.redis.run(&["ACL", "LOG"])?;
    ensure!(refusals == "*0\r\n", "{refusals}");
    ensure!(!fleet.envoys[0].log().contains("NOPERM"), "{}", fleet.envoys[0].log());
    Ok(())
}

/// Without Redis, messages go out from the member that made them.
#[tokio::test(flavor = "multi_thread")]
async fn messages_go_out_while_redis_is_down_and_once_when_it_is_back() -> Result<()> {
    let mut fleet = Fleet::start(2, &wrong_keys(json!({ "max_per_minute": 0 }), json!({}))).await?;
    fleet.fail(0, 5).await?;
    fleet.receiver.expect(5, SOON).await?;
    fleet.redis.kill()?;
    fleet.fail(1, 5).await?;
    fleet.receiver.expect(10, SOON).await?;
    fleet.redis.restart()?;
    fleet.fail(0, 5).await?;
    fleet.receiver.expect(15, SOON).await?;
    let accepted = accepted(&fleet.receiver.received());
    ensure!(accepted.len() == 15, "a message came twice: {accepted:?}");
    eventually("Redis holds none any more", async || Ok(fleet.held_in_redis()? == 0)).await
}

/// The counts of the messages, `suppressed` of each, in the order in which they came.
fn counts(received: &[Received]) -> Result<Vec<u64>> {
    received.iter().map(|message| Ok(message.json()?["suppressed"].as_u64().unwrap_or_default())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_on_three_envoys_is_one_message_and_one_digest() -> Result<()> {
    const EACH: usize = 2000;
    let config = wrong_keys(json!({ "event_timeout": 8, "digest": true }), json!({}));
    let fleet = Fleet::start(3, &config).await?;
    tokio::try_join!(fleet.fail(0, EACH), fleet.fail(1, EACH), fleet.fail(2, EACH))?;
    ensure!(fleet.receiver.count() <= 1, "{:?}", fleet.receiver.received());
    let received = fleet.receiver.expect(2, SOON).await?;
    ensure!(counts(&received)? == [0, 3 * EACH as u64 - 1], "{received:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn three_envoys_share_the_cap_of_a_handler() -> Result<()> {
    let fleet = Fleet::start(3, &wrong_keys(json!({ "max_per_minute": 10 }), json!({}))).await?;
    tokio::try_join!(fleet.fail(0, 100), fleet.fail(1, 100), fleet.fail(2, 100))?;
    let received = fleet.receiver.expect(10, SOON).await?;
    ensure!(counts(&received)?.iter().all(|count| *count == 0), "{received:?}");
    // The digest comes after a minute.
    let received = fleet.receiver.expect(11, SOON).await?;
    ensure!(counts(&received)?.last() == Some(&290), "{received:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_gone_gets_nothing_from_any_member() -> Result<()> {
    let fleet = Fleet::start(2, &wrong_keys(json!({ "max_per_minute": 0 }), json!({}))).await?;
    fleet.receiver.set_manner(Manner { status: 410, ..Manner::default() });
    fleet.fail(0, 1).await?;
    fleet.receiver.expect(1, SOON).await?;
    eventually("the other member knows", async || {
        Ok(fleet.envoys[1].log().contains("answered 410 Gone to another member"))
    })
    .await?;
    get_with_key(fleet.envoys[1].port, "/orders/1", "wrong-key").await?;
    fleet.receiver.expect(1, SOON).await?;
    Ok(())
}
