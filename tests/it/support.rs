use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::{Value, json};
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use tollbell_tests::envoy::{Envoy, Setup};
use tollbell_tests::server::Server;

/// Tests that measure run alone. All others share the machine.
pub static MACHINE: RwLock<()> = RwLock::const_new(());

pub async fn alone() -> RwLockWriteGuard<'static, ()> {
    MACHINE.write().await
}

pub async fn shared() -> RwLockReadGuard<'static, ()> {
    MACHINE.read().await
}

/// Longer than one attempt of a message may take, because an attempt that hangs is repeated.
pub const SOON: Duration = Duration::from_secs(75);

/// Waits until a condition is true.
///
/// # Errors
/// It is not true after a minute, or the check fails.
pub async fn eventually(what: &str, is_so: impl AsyncFn() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so().await? {
        if Instant::now() > deadline {
            bail!("not so after a minute: {what}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// An Envoy between an upstream and a receiver.
pub struct World {
    pub envoy: Envoy,
    pub upstream: Server,
    pub receiver: Server,
    _shared: Option<RwLockReadGuard<'static, ()>>,
}

impl World {
    pub async fn with_config(config: Value) -> Result<World> {
        World::with_setup(|upstream, receiver| Setup::config(&config, upstream, receiver)).await
    }

    pub async fn with_setup(setup: impl FnOnce(u16, u16) -> Result<Setup>) -> Result<World> {
        let shared = shared().await;
        let mut world = World::measured(setup).await?;
        world._shared = Some(shared);
        Ok(world)
    }

    /// As [`World::with_setup`], for a test that holds [`alone`].
    pub async fn measured(setup: impl FnOnce(u16, u16) -> Result<Setup>) -> Result<World> {
        let (upstream, receiver) = (Server::start().await?, Server::start().await?);
        let envoy = setup(upstream.port, receiver.port)?.start().await?;
        Ok(World { envoy, upstream, receiver, _shared: None })
    }

    /// Waits for `count` messages and returns their bodies, sorted by text.
    pub async fn messages(&self, count: usize) -> Result<Vec<Value>> {
        let received = self.receiver.expect(count, SOON).await?;
        let mut bodies = received.iter().map(|message| message.json()).collect::<Result<Vec<_>>>()?;
        bodies.sort_by_key(Value::to_string);
        Ok(bodies)
    }
}

pub fn hook(path: &str, event_timeout: u64) -> Value {
    json!({
        "handler_name": "eh_web_hook_handler",
        "handler_meta": { "target_path": format!("http://RECEIVER{path}"), "event_timeout": event_timeout }
    })
}

/// An API at `/`, a key with the given session, and handlers that send AuthFailure and QuotaExceeded to the receiver.
pub fn config(session: Value) -> Value {
    json!({
        "apis": [{
            "api_id": "orders", "org_id": "acme",
            "event_handlers": { "events": { "AuthFailure": [hook("/auth", 5)], "QuotaExceeded": [hook("/quota", 60)] } }
        }],
        "keys": { "good-key": session },
        "monitor": {
            "enable_trigger_monitors": true, "monitor_user_keys": true, "monitor_org_keys": true,
            "configuration": { "target_path": "http://RECEIVER/monitor", "event_timeout": 10 }
        }
    })
}
