use anyhow::{Result, ensure};
use serde_json::json;
use tollbell_tests::client::{get_with_key, raw};
use tollbell_tests::envoy::Setup;

use crate::support::{World, config, hook};

/// Bytes that Envoy's HTTP/1 codec accepts in a path and in a header value.
#[tokio::test(flavor = "multi_thread")]
async fn client_bytes_of_any_kind_arrive_escaped() -> Result<()> {
    let mut config = config(json!({}));
    config["apis"][0]["event_handlers"]["events"]["AuthFailure"] = json!([hook("/auth", 0)]);
    config["apis"][0]["auth"] = json!({ "use_param": true });
    // Path normalization would encode most of these before the filter sees them.
    let as_sent = |yaml: String| yaml.replace("normalize_path: true", "normalize_path: false");
    let world =
        World::with_setup(|upstream, receiver| Ok(Setup::config(&config, upstream, receiver)?.edit(as_sent))).await?;
    let mut sent = 0;
    for (target, key) in [
        (&b"/orders/\"quoted\"{{Type}}{{{x}}}"[..], &b"k\"ey\\{{Meta.Key}}{{#if}}</k>"[..]),
        (b"/orders/%0a%22", b"encoded"),
        (b"/orders/back\\slash", b"slash"),
        (b"/orders/\xff\xfe", b"not-utf-8"),
        (b"/plain", b"caf\xc3\xa9\xff\xfe"),
        (b"/tab", b"a\tb"),
        (b"/from-param?api_key=%22%5c%0a%00%ff%7B%7BType%7D%7D", b""),
    ] {
        let header = if key.is_empty() { Vec::new() } else { [b"authorization: ", key, b"\r\n"].concat() };
        let request =
            [b"GET ", target, b" HTTP/1.1\r\nhost: a.test\r\n", &header[..], b"connection: close\r\n\r\n"].concat();
        let reply = raw(world.envoy.port, &request).await?;
        let reply = String::from_utf8_lossy(&reply);
        if reply.starts_with("HTTP/1.1 403") {
            sent += 1;
        } else {
            // Envoy's own codec refused the bytes. The filter never saw them.
            ensure!(reply.starts_with("HTTP/1.1 400"), "{reply}");
        }
    }
    assert!(sent >= 4, "Envoy let only {sent} requests through");
    let bodies = world.messages(sent).await?;
    let has = |field: &str, value: &str| bodies.iter().any(|body| body[field] == value);
    assert!(has("path", "/orders/\"quoted\"{{Type}}{{{x}}}"), "{bodies:#?}");
    assert!(has("key", "k\"ey\\{{Meta.Key}}{{#if}}</k>"), "{bodies:#?}");
    assert!(has("key", "café\u{fffd}\u{fffd}"), "{bodies:#?}");
    assert!(has("key", "\"\\\n\0\u{fffd}{{Type}}"), "{bodies:#?}");
    assert_eq!(get_with_key(world.envoy.port, "/", "good-key").await?.status, 200, "every VM is alive");
    assert!(!world.envoy.has_trapped(), "{}", world.envoy.log());
    Ok(())
}
