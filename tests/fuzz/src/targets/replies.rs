//! What targets of messages answer: webhooks and the four providers of e-mail, each with its own idea of success.

use std::cell::RefCell;

use serde_json::json;
use tollbell_core::host::CalloutReply;

use super::input::{Numbers, parts};
use super::world::{World, loaded};

const PROVIDERS: [&str; 4] = ["sendgrid", "mailgun", "mandrill", "amazonses"];

/// So many inputs share a world: messages that no answer ends pile up in it.
const MOST_USES: u32 = 20;

/// Takes any bytes.
pub fn run(bytes: &[u8]) {
    thread_local!(static WORLDS: RefCell<[Option<(World, u32)>; 4]> = const { RefCell::new([None, None, None, None]) });
    let [numbers, retry_after, body] = parts(bytes);
    let mut numbers = Numbers(numbers);
    WORLDS.with_borrow_mut(|worlds| {
        let provider = numbers.below(PROVIDERS.len());
        let shared = worlds[provider].take().filter(|(_, uses)| *uses < MOST_USES);
        let (mut world, uses) = shared.unwrap_or_else(|| (world(PROVIDERS[provider]), 0));
        let status = u16::from(numbers.byte()) * 4 + u16::from(numbers.byte() % 4);
        let retry_after = String::from_utf8_lossy(retry_after).into_owned();
        let reply = CalloutReply {
            status: (status > 0).then_some(status),
            retry_after: (!retry_after.is_empty()).then_some(retry_after),
            by_proxy: numbers.byte() == 1,
        };
        // All quotas begin anew.
        world.tick(172_800_000);
        world.host.set_reply(&[], body);
        for key in ["k", "nobody"] {
            world.get("/", key);
        }
        for _ in 0..3 {
            for (id, _) in world.tick(60_000) {
                world.reply_with(id, &reply);
            }
        }
        world.host.set_reply(&[], b"");
        for (id, _) in world.tick(86_400_000) {
            world.reply(id, 202);
        }
        worlds[provider] = Some((world, uses + 1));
    });
}

fn world(code: &str) -> World {
    let config = json!({
        "apis": [{ "api_id": "a", "org_id": "acme" }],
        "keys": { "k": { "quota_max": 2, "quota_renewal_rate": 60, "monitor": { "trigger_limits": [50] },
            "meta_data": { "email": "dev@acme.test" } } },
        "monitor": { "enable_trigger_monitors": true, "monitor_user_keys": true,
            "configuration": { "target_path": "http://hooks.test/m" } },
        "event_handlers": { "events": { "AuthFailure": [{ "handler_name": "eh_web_hook_handler",
            "handler_meta": { "target_path": "http://hooks.test/auth" } }] } },
        "email_backend": { "enable_email_notifications": true, "code": code, "default_from_email": "no-reply@acme.test",
            "settings": match code {
                "amazonses" => json!({ "Region": "eu-west-1", "AccessKeyId": "AKID", "SecretAccessKey": "secret" }),
                "mailgun" => json!({ "Domain": "acme.test", "PrivateKey": "key" }),
                _ => json!({ "ClientKey": "key" }),
            } },
    });
    World::of(loaded(&config.to_string()))
}
