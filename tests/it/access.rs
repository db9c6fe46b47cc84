//! Places of keys, answers of refusals, preflights, internal redirects: their effects in Envoy.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tollbell_tests::client::{self, Reply, get, raw, send_http2};
use tollbell_tests::envoy::Setup;
use tollbell_tests::server::{Manner, Received, Server};

use crate::support::World;

fn orders(more: &Value) -> Value {
    let mut api = json!({
        "api_id": "orders", "name": "The \"Orders\" café", "listen_path": "/orders/",
        "auth": { "use_param": true, "use_cookie": true, "cookie_name": "session" },
    });
    if let (Some(api), Some(more)) = (api.as_object_mut(), more.as_object()) {
        api.extend(more.clone());
    }
    json!({ "apis": [api], "keys": { "good-key": { "quota_max": 100, "quota_renewal_rate": 3600 } } })
}

/// Headers of a request.
type Headers = &'static [(&'static str, &'static str)];

/// All values of a header, in their order.
fn lines<'r>(received: &'r Received, name: &str) -> Vec<&'r str> {
    received.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn stripping_removes_every_key_and_keeps_other_cookies() -> Result<()> {
    let world = World::with_config(orders(&json!({ "strip_authorization_data": true }))).await?;
    let path = "/orders/1?a=b&api_key=good-key&api%5Fkey=good-key&c=d";
    let headers = [
        ("cookie", "theme=dark"),
        ("authorization", "Bearer good-key"),
        ("cookie", "lang=\"en; session=\"good-key\""),
        ("cookie", "session=good-key; basket=1=2"),
    ];
    for is_http2 in [false, true] {
        let reply = if is_http2 {
            send_http2(world.envoy.port, "GET", path, &headers, Vec::new()).await?
        } else {
            get(world.envoy.port, path, &headers).await?
        };
        assert_eq!(reply.status, 200, "{reply:?}");
        let received = world.upstream.received().pop().context("nothing came")?;
        assert_eq!(received.target, "/orders/1?a=b&c=d");
        assert_eq!(lines(&received, "authorization"), Vec::<&str>::new());
        assert_eq!(lines(&received, "cookie").join("; "), "theme=dark; lang=\"en; basket=1=2", "HTTP/2: {is_http2}");
    }
    let reply = get(world.envoy.port, "/orders/1", &[("cookie", "session=good-key"), ("cookie", "session=good-key")]);
    assert_eq!(reply.await?.status, 200);
    let received = world.upstream.received().pop().context("nothing came")?;
    assert_eq!(lines(&received, "cookie"), Vec::<&str>::new());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_line_counts_and_two_keys_in_one_place_are_invalid() -> Result<()> {
    let world = World::with_config(orders(&json!({ "auth": {
        "auth_header_name": "x-api-key", "use_param": true, "use_cookie": true, "cookie_name": "session"
    } })))
    .await?;
    let cases: [(&str, Headers, u16); 9] = [
        ("/orders/1", &[("cookie", "a=b"), ("cookie", "session=\"good-key\"")], 200),
        ("/orders/1", &[("cookie", "session=good-key"), ("cookie", "session=wrong")], 403),
        ("/orders/1", &[("x-api-key", "good-key"), ("X-Api-Key", "Bearer good-key")], 200),
        ("/orders/1", &[("x-api-key", "good-key"), ("X-Api-Key", "wrong")], 403),
        ("/orders/1?api_key=good-key&api_key=wrong", &[], 403),
        ("/orders/1?api_key=good-key&api_key=good-key", &[], 200),
        ("/orders/1?api_key=wrong", &[("x-api-key", "good-key")], 403),
        ("/orders/1?api_key=Bearer+good-key", &[("x-api-key", "wrong")], 200),
        ("/orders/1?api_key=wrong", &[("cookie", "session=good-key")], 200),
    ];
    for (path, headers, status) in cases {
        assert_eq!(get(world.envoy.port, path, headers).await?.status, status, "{path} {headers:?}");
        assert_eq!(send_http2(world.envoy.port, "GET", path, headers, Vec::new()).await?.status, status, "{path}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn bearer_alone_is_a_wrong_key_and_a_401_has_a_challenge() -> Result<()> {
    let world = World::with_config(orders(&json!({}))).await?;
    let realm = r#"Bearer realm="The \"Orders\" caf%C3%A9""#;
    let cases: [(Headers, u16, Option<&str>); 4] = [
        (&[], 401, Some(realm)),
        (&[("authorization", "")], 401, Some(realm)),
        (&[("authorization", "Bearer")], 403, None),
        (&[("authorization", "Bearer   ")], 403, None),
    ];
    for (headers, status, challenge) in cases {
        let reply = get(world.envoy.port, "/orders/1", headers).await?;
        assert_eq!((reply.status, reply.header("www-authenticate")), (status, challenge), "{headers:?}");
    }
    assert_eq!(world.envoy.metric(r#"tollbell_requests{outcome="missing_key"}"#).await?, 2);
    assert_eq!(world.envoy.metric(r#"tollbell_requests{outcome="unknown_key"}"#).await?, 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_grpc_call_has_the_text_as_its_message() -> Result<()> {
    let world = World::with_config(orders(&json!({}))).await?;
    let call = async |content_type, key| -> Result<Reply> {
        let headers = [("content-type", content_type), ("te", "trailers"), ("authorization", key)];
        send_http2(world.envoy.port, "POST", "/orders/Get", &headers, vec![0; 5]).await
    };
    for content_type in ["application/grpc", "application/grpc+proto"] {
        for (key, status, message) in
            [("", "16", "Authorization field missing"), ("wrong", "7", "Access to this API has been disallowed")]
        {
            let reply = call(content_type, key).await?;
            let header = |name| reply.header(name);
            assert_eq!(reply.status, 200, "{reply:?}");
            assert_eq!((header("grpc-status"), header("grpc-message")), (Some(status), Some(message)), "{reply:?}");
            assert_eq!(header("content-type"), Some("application/grpc"), "{reply:?}");
            assert_eq!(header("www-authenticate").is_some(), key.is_empty());
        }
    }
    // Requests that Envoy does not recognise as gRPC get the answer of HTTP.
    for content_type in ["application/grpc-web", "application/grpc; charset=utf-8", "application/grpcx"] {
        let reply = call(content_type, "").await?;
        assert_eq!((reply.status, reply.header("content-type")), (401, Some("application/json")), "{content_type}");
        assert_eq!(reply.body, r#"{"error": "Authorization field missing"}"#, "{content_type}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preflight_reaches_the_upstream_without_a_key() -> Result<()> {
    let world = World::with_config(orders(&json!({ "auth": { "allow_preflight": true } }))).await?;
    let preflight = [("origin", "https://app.test"), ("access-control-request-method", "DELETE")];
    let options = async |headers: &[(&str, &str)]| -> Result<u16> {
        Ok(client::send(world.envoy.port, "OPTIONS", "/orders/1", headers, Vec::new()).await?.status)
    };
    assert_eq!(options(&preflight).await?, 200);
    assert_eq!(world.upstream.count(), 1);
    assert_eq!(options(&preflight[..1]).await?, 401);
    assert_eq!(options(&[&preflight[..], &[("x-http-method-override", "DELETE")]].concat()).await?, 401);
    assert_eq!(options(&[&preflight[..], &[("authorization", "wrong")]].concat()).await?, 403);
    let smuggled = b"OPTIONS /orders/1 HTTP/1.1\r\nhost: a.test\r\norigin: https://app.test\r\n\
        access-control-request-method: PUT\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi";
    let reply = String::from_utf8_lossy(&raw(world.envoy.port, smuggled).await?).into_owned();
    ensure!(reply.starts_with("HTTP/1.1 401"), "{reply}");
    assert_eq!(world.envoy.metric(r#"tollbell_requests{outcome="preflight"}"#).await?, 1);
    Ok(())
}

/// Envoy itself follows the redirects of `redirector` for `/orders/old` and `/free/old`.
fn following(setup: Setup, redirector: u16) -> Setup {
    setup.edit(|yaml| {
        let follows = |prefix: &str| {
            format!(
                "- match: {{ prefix: \"{prefix}\" }}\n                route: {{ cluster: redirector, internal_redirect_policy: {{ \
                 max_internal_redirects: 3, redirect_response_codes: [302, 303, 307], allow_cross_scheme_redirect: true }} }}\n              "
            )
        };
        let cluster = format!(
            "  clusters:\n  - name: redirector\n    type: STATIC\n    load_assignment: {{ cluster_name: redirector, endpoints: [ {{ \
             lb_endpoints: [ {{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {redirector} }} }} }} }} ] }} ] }}\n"
        );
        let routes = follows("/orders/old") + &follows("/free/old") + "- match: { prefix: \"/\" }";
        yaml.replacen("- match: { prefix: \"/\" }", &routes, 1).replacen("  clusters:\n", &cluster, 1)
    })
}

fn to(location: &'static str) -> Manner {
    Manner { status: 302, header: Some(("location", location)), ..Manner::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_internal_redirect_is_counted_once_and_opens_nothing() -> Result<()> {
    for strip in [false, true] {
        let redirector = Server::start().await?;
        let mut config = orders(&json!({ "strip_authorization_data": strip }));
        let other =
            |id: &str| json!({ "api_id": id, "listen_path": format!("/{id}/"), "auth": config["apis"][0]["auth"] });
        let (paid, closed) = (other("paid"), other("closed"));
        config["apis"].as_array_mut().context("no list")?.extend([paid, closed]);
        config["keys"]["good-key"]["access_rights"] =
            json!({ "orders": {}, "paid": { "limit": { "quota_max": 1, "quota_renewal_rate": 3600 } } });
        let world = World::with_setup(|upstream, receiver| {
            Ok(following(Setup::config(&config, upstream, receiver)?, redirector.port))
        })
        .await?;
        let ask = async |path: &str, headers: &[(&str, &str)]| -> Result<(u16, Option<String>)> {
            let reply = get(world.envoy.port, path, headers).await?;
            Ok((reply.status, reply.header("x-ratelimit-remaining").map(str::to_owned)))
        };
        let left = |n: u32| (200, Some(n.to_string()));
        let key = [("authorization", "good-key")];

        redirector.set_manner(to("http://gateway.test/orders/new"));
        assert_eq!(ask("/orders/old", &key).await?, left(99), "strip: {strip}");
        assert_eq!((redirector.count(), world.upstream.count()), (1, 1));
        assert_eq!(world.upstream.received()[0].target, "/orders/new");
        assert_eq!(world.upstream.received()[0].header("authorization").is_some(), !strip);
        assert_eq!(ask("/orders/old", &key).await?, left(98));
        assert_eq!(
            ask("/orders/old?api_key=good-key", &[]).await?,
            left(97),
            "a key in the query, which the redirect replaces"
        );
        assert_eq!(ask("/orders/old", &[("cookie", "a=b"), ("cookie", "session=good-key")]).await?, left(96));
        assert_eq!(ask("/orders/1", &key).await?, left(95), "no redirect");
        assert_eq!(world.envoy.metric(r#"tollbell_requests{outcome="admitted"}"#).await?, 5);

        // Three redirects in a row, after which Envoy gives up.
        redirector.set_manner(to("http://gateway.test/orders/old"));
        assert_eq!(ask("/orders/old", &key).await?, (302, Some("94".to_owned())));

        // Another API: its rights and limits apply, and counted limits are not counted again.
        redirector.set_manner(to("http://gateway.test/closed/1"));
        assert_eq!(ask("/orders/old", &key).await?.0, 403);
        redirector.set_manner(to("http://gateway.test/paid/1"));
        assert_eq!(ask("/orders/old", &key).await?.0, 200);
        assert_eq!(ask("/orders/old", &key).await?.0, 403, "its own quota is used up");
        assert_eq!(ask("/orders/1", &key).await?, left(90), "each of these was counted once");

        // A path of no API and a header that only Envoy may write do not get around the filter.
        redirector.set_manner(to("http://gateway.test/orders/new"));
        assert_eq!(ask("/free/old", &[]).await?.0, 401);
        assert_eq!(ask("/free/old", &key).await?, left(89));
        for forged in ["x-envoy-original-url", "x-envoy-original-path", "x-envoy-internal"] {
            assert_eq!(ask("/orders/1", &[(forged, "http://gateway.test/orders/old")]).await?.0, 401, "{forged}");
        }
        assert_eq!(ask("/orders/1", &[("x-envoy-original-url", "http://gateway.test/"), key[0]]).await?, left(88));
    }
    Ok(())
}

/// A client that closes its connection leaves a stream without a response, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_after_one_that_was_cut_off_is_counted() -> Result<()> {
    let config = orders(&json!({ "strip_authorization_data": true }));
    let world =
        World::with_setup(|upstream, receiver| Ok(Setup::config(&config, upstream, receiver)?.workers(1))).await?;
    world.upstream.set_manner(Manner { delay: std::time::Duration::from_secs(30), ..Manner::default() });
    for gone in 1..=5 {
        let request = get(world.envoy.port, "/orders/1", &[("authorization", "good-key")]);
        let cut_off = tokio::time::timeout(std::time::Duration::from_millis(300), request).await;
        ensure!(cut_off.is_err(), "{cut_off:?}");
        crate::support::eventually("it reached the upstream", async || Ok(world.upstream.count() == gone)).await?;
        assert_eq!(get(world.envoy.port, "/orders/1", &[]).await?.status, 401);
    }
    world.upstream.set_manner(Manner::default());
    let reply = get(world.envoy.port, "/orders/1", &[("authorization", "good-key")]).await?;
    assert_eq!(reply.header("x-ratelimit-remaining"), Some("94"));
    Ok(())
}

/// The settings in `docs/authentication.md` are run unchanged.
#[tokio::test(flavor = "multi_thread")]
async fn the_documented_settings_work_as_documented() -> Result<()> {
    let page = std::fs::read_to_string(tollbell_tests::project_root().join("docs/authentication.md"))?;
    let first = |kind| crate::files::blocks(&page, kind).next().ok_or_else(|| anyhow::anyhow!("no {kind} block"));
    let (settings, cors) = (first("yaml")?, first("yaml envoy")?);
    let settings: Value = serde_norway::from_str(settings)?;
    let cors: Value = serde_norway::from_str(cors)?;
    let preflight = [("origin", "https://app.example.com"), ("access-control-request-method", "POST")];

    let world = World::with_config(settings.clone()).await?;
    assert_eq!(get(world.envoy.port, "/orders/1", &[("cookie", "session=demo-key")]).await?.status, 200);
    assert_eq!(client::send(world.envoy.port, "OPTIONS", "/orders/1", &preflight, Vec::new()).await?.status, 200);
    assert_eq!(world.upstream.count(), 2);
    let challenge = get(world.envoy.port, "/orders/1", &[]).await?.header("www-authenticate").map(str::to_owned);
    ensure!(challenge.is_some_and(|value| page.contains(&format!("`{value}`"))));

    let mut closed = settings;
    closed["apis"][0]["auth"]["allow_preflight"] = json!(false);
    let world = World::with_setup(|upstream, receiver| {
        let setup = Setup::config(&closed, upstream, receiver)?;
        Ok(setup.edit(|yaml| {
            let plain = "- match: { prefix: \"/\" }\n                route: { cluster: upstream }";
            let filter = format!("          - {}\n          - name: tollbell\n", cors["http_filters"][0]);
            yaml.replacen(plain, &format!("- {}", cors["routes"][0]), 1).replacen(
                "          - name: tollbell\n",
                &filter,
                1,
            )
        }))
    })
    .await?;
    let reply = client::send(world.envoy.port, "OPTIONS", "/orders/1", &preflight, Vec::new()).await?;
    assert_eq!((reply.status, world.upstream.count()), (200, 0));
    assert_eq!(reply.header("access-control-allow-origin"), Some("https://app.example.com"));
    assert_eq!(reply.header("access-control-allow-methods"), Some("GET, POST"));
    let refused = get(world.envoy.port, "/orders/1", &preflight[..1]).await?;
    assert_eq!((refused.status, refused.header("access-control-allow-origin")), (401, Some("https://app.example.com")));
    Ok(())
}
