//! Versions of an API in a real Envoy, with an upstream for each.

use std::fs;

use anyhow::{Context, Result, ensure};
use import_tyk::{Files, import};
use serde_json::{Value, json};
use tollbell_tests::client::{Connection, get};
use tollbell_tests::envoy::Setup;
use tollbell_tests::project_root;
use tollbell_tests::server::{Manner, Server};

use crate::support::{World, eventually, shared};

/// Envoy as in the documentation, with another place of the version, in front of an upstream for each version.
async fn world(edit: impl Fn(String) -> String) -> Result<(World, Server)> {
    world_with(edit, |routes| routes).await
}

async fn world_with(
    edit: impl Fn(String) -> String,
    edit_routes: impl Fn(String) -> String,
) -> Result<(World, Server)> {
    let text = fs::read_to_string(project_root().join("docs/versions.md"))?;
    let block = |kind: &str, indent: usize| -> Result<String> {
        let (_, rest) = text.split_once(&format!("```yaml {kind}\n")).context("no block")?;
        let (block, _) = rest.split_once("```").context("no end")?;
        Ok(block.lines().map(|line| format!("{}{line}\n", " ".repeat(indent))).collect())
    };
    let (routes, own) = (edit_routes(block("routes", 14)?), edit(block("tollbell", 20)?));
    let second = Server::start().await?;
    let world = World::with_setup(|upstream, receiver| {
        Ok(Setup::file("envoy/envoy.yaml", upstream, receiver)?.edit(|yaml| {
            let plain = "              - match: { prefix: \"/\" }\n                route: { cluster: upstream }\n";
            let (before, rest) = yaml.split_once("# ---- tollbell's own configuration").expect("a mark");
            let (_, after) = rest.split_once("# ---- end of tollbell's own").expect("a mark");
            let cluster = format!(
                "  - name: upstream_v2\n    type: STATIC\n    load_assignment: {{ cluster_name: upstream_v2, endpoints: [{{ lb_endpoints: \
                 [{{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {} }} }} }} }}] }}] }}\n",
                second.port
            );
            let yaml = format!("{before}# own\n{own}                    # end{after}");
            yaml.replacen(plain, &routes, 1).replacen("  clusters:\n", &format!("  clusters:\n{cluster}"), 1)
        }))
    })
    .await?;
    world.upstream.set_manner(Manner { body: "v1".to_owned(), ..Manner::default() });
    second.set_manner(Manner { body: "v2".to_owned(), ..Manner::default() });
    Ok((world, second))
}

/// The answering upstream's name, or a refusal.
async fn answer(world: &World, path: &str, headers: &[(&str, &str)]) -> Result<(u16, String)> {
    let reply = get(world.envoy.port, path, headers).await?;
    let text = reply.body.strip_prefix("{\"error\": \"").and_then(|rest| rest.strip_suffix("\"}"));
    Ok((reply.status, text.unwrap_or(&reply.body).to_owned()))
}

const DISALLOWED: (u16, &str) = (403, "Access to this API has been disallowed");
const UNKNOWN: (u16, &str) = (403, "This API version does not seem to exist");
const MISSING: (u16, &str) = (403, "Version information not found");

#[tokio::test(flavor = "multi_thread")]
async fn each_version_has_its_upstream_and_its_keys() -> Result<()> {
    let (world, second) = world(|own| own).await?;
    for (key, versions, expected) in [
        ("first", &["v1"][..], (200, "v1")),
        ("first", &["v2"], DISALLOWED),
        ("second", &["v2"], (200, "v2")),
        ("second", &["v1"], DISALLOWED),
        ("both", &["v1"], (200, "v1")),
        ("both", &["v2"], (200, "v2")),
        ("both", &["v2", "v2"], (200, "v2")),
        ("both", &["v9"], UNKNOWN),
        ("both", &["V2"], UNKNOWN),
        ("both", &["v1", "v2"], UNKNOWN),
        ("both", &["v2", "v1"], UNKNOWN),
        ("both", &["v1, v2"], UNKNOWN),
        ("both", &[], MISSING),
        ("both", &[""], MISSING),
        ("nobody", &["v9"], UNKNOWN),
        ("nobody", &["v2"], DISALLOWED),
    ] {
        for forged in [None, Some("v1"), Some("v2"), Some("v9")] {
            let mut headers = vec![("authorization", key)];
            headers.extend(versions.iter().map(|version| ("X-Version", *version)));
            headers.extend(forged.map(|version| ("x-tollbell-version", version)));
            headers.extend(forged.map(|version| ("X-Tollbell-Version", version)));
            let found = answer(&world, "/orders/1", &headers).await?;
            assert_eq!((found.0, found.1.as_str()), expected, "{key} {versions:?} {forged:?}");
        }
    }
    for request in second.received() {
        assert_eq!(request.header("x-version"), None, "the version is removed");
        let lines = request.headers.iter().filter(|(name, _)| name.as_str() == "x-tollbell-version");
        assert_eq!(
            lines.map(|(_, value)| value.as_str()).collect::<Vec<_>>(),
            ["v2"],
            "the client's own header is removed"
        );
    }
    let failures = async || world.envoy.metric(r#"tollbell_events{type="VersionFailure"}"#).await;
    eventually("failures are events", async || Ok(failures().await? == 4 * 8)).await
}

/// The upstream of v2 redirects, and Envoy itself follows: the version's name is no longer in the request.
#[tokio::test(flavor = "multi_thread")]
async fn an_internal_redirect_stays_with_its_version() -> Result<()> {
    let follows = "{ cluster: upstream_v2, internal_redirect_policy: { max_internal_redirects: 1, \
                   redirect_response_codes: [302], allow_cross_scheme_redirect: true } }";
    let (world, second) = world_with(|own| own, |routes| routes.replace("{ cluster: upstream_v2 }", follows)).await?;
    let location = Some(("location", "http://gateway.test/orders/new"));
    second.set_manner(Manner { status: 302, header: location, body: "v2".to_owned(), ..Manner::default() });
    // The upstream is asked twice, and redirects again.
    let reply = get(world.envoy.port, "/orders/old", &[("authorization", "second"), ("x-version", "v2")]).await?;
    assert_eq!(reply.status, 302, "{reply:?}");
    let targets: Vec<_> = second.received().into_iter().map(|received| received.target).collect();
    assert_eq!(targets, ["/orders/old", "/orders/new"]);
    ensure!(second.received().iter().all(|received| received.header("x-version").is_none()));
    assert_eq!(world.upstream.count(), 0, "no request reaches the other version");
    let another = answer(&world, "/orders/new", &[("authorization", "second")]).await?;
    assert_eq!((another.0, another.1.as_str()), MISSING);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_and_paths_name_versions_too() -> Result<()> {
    let _shared = shared().await;
    let (by_parameter, _second) =
        world(|own| own.replace("location: header  ", "location: url-param").replace("key: x-version", "key: v"))
            .await?;
    let (by_path, second) =
        world(|own| own.replace("location: header", "location: url").replace("key: x-version", "")).await?;
    for (world, path, key, expected) in [
        (&by_parameter, "/orders/1?v=v1", "first", (200, "v1")),
        (&by_parameter, "/orders/1?v=v2", "first", DISALLOWED),
        (&by_parameter, "/orders/1?a=b&%76=v%32", "second", (200, "v2")),
        (&by_parameter, "/orders/1?v=v2", "both", (200, "v2")),
        (&by_parameter, "/orders/1?v=v1&v=v2", "both", UNKNOWN),
        (&by_parameter, "/orders/1?v=v9", "both", UNKNOWN),
        (&by_parameter, "/orders/1?V=v1", "both", MISSING),
        (&by_parameter, "/orders/1", "both", MISSING),
        (&by_path, "/orders/v1/1", "first", (200, "v1")),
        (&by_path, "/orders/v2/1", "first", DISALLOWED),
        (&by_path, "/orders/v2/1?x=/orders/v1", "second", (200, "v2")),
        (&by_path, "/orders/v2", "both", (200, "v2")),
        (&by_path, "/orders/v1/../v2/1", "second", (200, "v2")),
        (&by_path, "/orders/v1/../v2/1", "first", DISALLOWED),
        (&by_path, "/orders/v1/..;/v2/1", "first", DISALLOWED),
        (&by_path, "/orders/v1/%2e%2e;/v2/1", "both", UNKNOWN),
        (&by_path, "/orders/v9/1", "both", UNKNOWN),
        (&by_path, "/orders/1", "both", UNKNOWN),
        (&by_path, "/orders/", "both", MISSING),
        (&by_path, "/orders", "both", MISSING),
    ] {
        let found = answer(world, path, &[("authorization", key)]).await?;
        assert_eq!((found.0, found.1.as_str()), expected, "{path} {key}");
    }
    let targets: Vec<String> = second.received().into_iter().map(|request| request.target).collect();
    assert_eq!(targets, ["/orders/1?x=/orders/v1", "/orders/", "/orders/1"], "the version is removed");
    let mut connection = Connection::open(by_path.envoy.port).await?;
    let reply = connection.get("/elsewhere", &[("x-tollbell-version", "v2")]).await?;
    assert_eq!(reply.status, 404, "no route");
    Ok(())
}

/// The import of Tyk's definitions in Envoy, with an upstream for v1 and one for v2.
async fn imported(name: &str, definitions: &[Value]) -> Result<World> {
    let folder = std::env::temp_dir().join(format!("tollbell-versions-{}-{name}", std::process::id()));
    fs::create_dir_all(folder.join("apps"))?;
    let right = |api: &str, versions: &[&str]| json!({ api: { "versions": versions } });
    let keys = json!({
        "first": { "org_id": "acme", "access_rights": right("a", &["v1"]) },
        "second": { "org_id": "acme", "access_rights": right("a", &["v2"]) },
        "both": { "org_id": "acme", "access_rights": right("a", &["v1", "v2", "v9"]) },
        "child": { "org_id": "acme", "access_rights": right("b", &["Default"]) },
    });
    let files = [("tyk.conf".to_owned(), json!({})), ("keys.json".to_owned(), keys)];
    let apps = definitions.iter().enumerate().map(|(n, definition)| (format!("apps/{n}.json"), definition.clone()));
    for (name, content) in files.into_iter().chain(apps) {
        fs::write(folder.join(name), content.to_string())?;
    }
    let files = Files {
        conf: folder.join("tyk.conf"),
        apps: folder.join("apps"),
        keys: Some(folder.join("keys.json")),
        ..Files::default()
    };
    let imported = import(&files, true).map_err(|failed| anyhow::anyhow!(failed.errors.join("\n")));
    fs::remove_dir_all(&folder)?;
    let yaml = imported?.yaml;
    let world = World::with_setup(|upstream, second| Setup::yaml(&yaml, "8080", upstream, second)).await?;
    world.upstream.set_manner(Manner { body: "v1".to_owned(), ..Manner::default() });
    world.receiver.set_manner(Manner { body: "v2".to_owned(), ..Manner::default() });
    Ok(world)
}

fn definition(own: Value) -> Value {
    let mut definition = json!({
        "api_id": "a", "name": "A", "org_id": "acme", "active": true, "use_standard_auth": true,
        "auth": { "auth_header_name": "Authorization" },
        "proxy": { "listen_path": "/orders/", "target_url": "http://127.0.0.1:10001/one/", "strip_listen_path": true },
    });
    for (name, value) in own.as_object().into_iter().flatten() {
        definition[name] = value.clone();
    }
    definition
}

#[tokio::test(flavor = "multi_thread")]
async fn imported_versions_go_where_tyk_sends_them() -> Result<()> {
    let data = json!({ "not_versioned": false, "versions": {
        "v1": { "name": "v1" }, "v2": { "name": "v2", "override_target": "http://127.0.0.1:10002/two/" },
        "v0": { "name": "v0", "expires": "2001-01-01 00:00" },
        "listed": { "use_extended_paths": true, "extended_paths": { "white_list": [{ "path": "/x" }] } },
    } });
    let location = |location: Value| definition(json!({ "version_data": data, "definition": location }));
    let expired = (403, "Api Version has expired, please check documentation or contact administrator");
    let header = imported("header", &[location(json!({ "location": "header", "key": "x-version" }))]).await?;
    for (key, version, expected) in [
        ("first", "v1", (200, "v1")),
        ("first", "v2", DISALLOWED),
        ("second", "v2", (200, "v2")),
        ("second", "v1", DISALLOWED),
        ("both", "v1", (200, "v1")),
        ("both", "v2", (200, "v2")),
        ("both", "v9", UNKNOWN),
        ("both", "", MISSING),
        ("both", "v0", expired),
        ("both", "listed", DISALLOWED),
    ] {
        let headers = [("authorization", key), ("x-version", version), ("x-tollbell-version", "v2")];
        let found = answer(&header, "/orders/7?x=1", &headers).await?;
        assert_eq!((found.0, found.1.as_str()), expected, "{key} {version}");
    }
    assert_eq!(header.upstream.received()[0].target, "/one/7?x=1");
    let second = &header.receiver.received()[0];
    assert_eq!((second.target.as_str(), second.header("x-tollbell-version")), ("/two/7?x=1", None));

    let parameter = imported("parameter", &[location(json!({ "location": "url-param", "key": "v" }))]).await?;
    let url = imported("url", &[location(json!({ "location": "url", "strip_path": true }))]).await?;
    for (world, path, key, expected) in [
        (&parameter, "/orders/7?v=v1", "first", (200, "v1")),
        (&parameter, "/orders/7?v=v2", "first", DISALLOWED),
        (&parameter, "/orders/7?v=%762", "second", (200, "v2")),
        (&parameter, "/orders/7?v=v9", "both", UNKNOWN),
        (&parameter, "/orders/7", "both", MISSING),
        (&url, "/orders/v1/7", "first", (200, "v1")),
        (&url, "/orders/v2/7", "first", DISALLOWED),
        (&url, "/orders/v2/7", "second", (200, "v2")),
        (&url, "/orders/v9/7", "both", UNKNOWN),
        (&url, "/orders/7", "both", UNKNOWN),
    ] {
        let found = answer(world, path, &[("authorization", key)]).await?;
        assert_eq!((found.0, found.1.as_str()), expected, "{path} {key}");
    }
    assert_eq!(url.receiver.received()[0].target, "/two/7", "the version is removed, as in Tyk");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn imported_versions_that_are_apis_have_their_own_rights() -> Result<()> {
    let versions = json!({ "enabled": true, "name": "v1", "default": "self", "location": "header", "key": "x-version",
        "versions": { "v2": "b" } });
    let base = definition(
        json!({ "definition": versions, "version_data": { "not_versioned": true, "versions": { "": {} } } }),
    );
    let proxy =
        json!({ "listen_path": "/orders-v2/", "target_url": "http://127.0.0.1:10002/two/", "strip_listen_path": true });
    let child = definition(json!({ "api_id": "b", "internal": true, "proxy": proxy }));
    let world = imported("apis", &[base, child]).await?;
    for (key, version, expected) in [
        ("first", "", (200, "v1")),
        ("first", "v1", (200, "v1")),
        ("first", "v2", DISALLOWED),
        ("child", "v2", (200, "v2")),
        ("child", "", DISALLOWED),
        ("child", "v9", (404, UNKNOWN.1)),
    ] {
        let found = answer(&world, "/orders/7", &[("authorization", key), ("x-version", version)]).await?;
        assert_eq!((found.0, found.1.as_str()), expected, "{key} {version}");
    }
    assert_eq!(answer(&world, "/orders-v2/7", &[("authorization", "child")]).await?.0, 404, "it is internal");
    Ok(())
}
