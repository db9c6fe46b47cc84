use super::*;
use crate::access::versioning::{Location, Version};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

mod upstreams;

/// Routes for APIs whose names say their kind: `open…` has no authentication, and `limited…` counts requests without
/// it.
fn routes(unmatched: &str, apis: &[(&str, &str, &str)]) -> Routes {
    let mut routes = Routes::new(unmatched == "refuse");
    for (id, domain, listen_path) in apis {
        let use_keyless = id.starts_with("open") || id.starts_with("limited");
        let rate = id.starts_with("limited").then(|| Quota::of_rate(1.0, 1.0)).flatten();
        let api = Api { id: (*id).to_owned(), use_keyless, rate, ..Api::default() };
        routes.add(domain, Prefix::parse(listen_path).unwrap(), api);
    }
    routes
}

/// The API's name and the doubt, if any; `-` for no API.
fn found(routes: &Routes, authority: &str, path: &str) -> String {
    match routes.find(&Readings::of(path.as_bytes()).unwrap(), authority.as_bytes()) {
        Route::Api { api, doubt: None, .. } => api.id.clone(),
        Route::Api { api, doubt: Some(doubt), .. } => format!("{} {}", api.id, doubt.label()),
        Route::None => "-".to_owned(),
    }
}

#[test]
fn the_longest_path_wins() {
    let routes = routes("pass", &[("all", "", "/"), ("deep", "", "/orders/new/"), ("orders", "", "/orders/")]);
    for (path, api) in [
        ("/x", "all"),
        ("/orders/1", "orders"),
        ("/orders/new/1", "deep"),
        ("/orders", "orders"),
        ("/order", "all"),
        ("/Orders/1", "all"),
        ("/orders/a%20b", "orders"),
        ("/orders/a//b;c", "orders"),
    ] {
        assert_eq!(found(&routes, "a.test", path), api, "{path}");
    }
}

#[test]
fn an_api_whose_version_needs_a_key_counts_as_one_that_needs_a_key() {
    let mut routes =
        routes("pass", &[("open-orders", "", "/orders/"), ("open-status", "", "/status/"), ("k", "", "/k/")]);
    let keyed = routes.add_internal(Api { id: "orders-v2".to_owned(), ..Api::default() });
    let version = |name: &str, api| Version { name: name.to_owned(), api, expires: None };
    let versioning = Versioning {
        location: Location::Header("x-version".to_owned()),
        default: String::new(),
        falls_back: false,
        strips: false,
        versions: vec![version("v1", Some(ApiIndex(0))), version("v2", Some(keyed))],
    };
    routes.set_versioning(ApiIndex(0), versioning);
    assert_eq!(found(&routes, "a.test", "/status/..%2forders/1"), "open-orders");
    assert_eq!(found(&routes, "a.test", "/k/..%2forders/1"), "k ambiguous_path");
    assert_eq!(found(&routes, "a.test", "/orders/1"), "open-orders");
}

#[test]
fn a_strict_listen_path_is_whole_segments() {
    let mut routes = routes("refuse", &[("open", "", "/")]);
    for (id, listen_path) in [("folder", "/folder/"), ("file", "/file"), ("at", "/@acme")] {
        let api = Api { id: id.to_owned(), ..Api::default() };
        routes.add("", Prefix::parse(listen_path).unwrap().strict(), api);
    }
    for (path, api) in [
        ("/folder/1", "folder"),
        ("/folder/", "folder"),
        ("/folder", "open"),
        ("/folders", "open"),
        ("/folder%2F1", "folder"),
        ("/file", "file"),
        ("/file/", "file"),
        ("/file/1", "file"),
        ("/files", "open"),
        ("/file%2F1", "file"),
        ("/%40acme/1", "at"),
        ("/%40acmes", "open"),
    ] {
        assert_eq!(found(&routes, "a.test", path), api, "{path}");
    }
}

#[test]
fn an_exact_domain_wins_and_an_unclear_host_may_be_any() {
    let apis = [("open any", "", "/orders/"), ("ours", "API.acme.test", "/"), ("six", "[2001:db8::1]", "/six/")];
    let routes = routes("pass", &apis);
    for (authority, path, api) in [
        ("api.ACME.test:443", "/orders/1", "ours"),
        ("api.acme.test.", "/orders/1", "ours"),
        ("api.acme.test.:8443", "/x", "ours"),
        ("other.test", "/orders/1", "open any"),
        ("other.test", "/x", "-"),
        ("sub.api.acme.test", "/x", "-"),
        ("[2001:DB8:0::1]:80", "/six/1", "six"),
        ("", "/orders/1", "ours"),
        ("api%2eacme.test", "/x", "ours"),
        ("u@api.acme.test", "/x", "ours"),
        ("u@api.acme.test", "/six/1", "six ambiguous_path"),
        ("other.test", "//api.acme.test/x", "ours"),
        ("other.test", "http://api.acme.test/x", "ours"),
        ("api.acme.test", "http://other.test/x", "ours"),
    ] {
        assert_eq!(found(&routes, authority, path), api, "{authority} {path}");
    }
}

#[test]
fn the_strictest_reading_holds() {
    let apis = [
        ("orders", "", "/orders/"),
        ("admins", "", "/orders/admin/"),
        ("open docs", "", "/docs/"),
        ("open docs drafts", "", "/docs/drafts/"),
        ("limited", "", "/limited/"),
        ("limited too", "", "/limited/too/"),
        ("at", "", "/@acme/"),
    ];
    for (path, passing, refusing) in [
        // Different spellings of the same path.
        ("/orders/a%2Fb", "orders", "orders"),
        ("/orders/a/../b", "orders", "orders"),
        ("/docs/a%2Fb//c;d", "open docs", "open docs"),
        ("/%40acme/1", "at", "at"),
        ("/docs/drafts%2F1", "open docs", "open docs"),
        ("/limited/a%2F1", "limited", "limited"),
        // Protected or open: the result is protected.
        ("/docs/..%2Forders/1", "orders", "orders"),
        ("/orders/../docs/1", "orders", "orders"),
        ("/docs/../limited/1", "limited", "limited"),
        ("/limited/..%2forders/1", "orders", "orders"),
        // Protected or none: the result is protected, or refused if requests to none are.
        ("/orders%2F1", "orders", "orders unmatched"),
        ("/docs%2F1", "open docs", "open docs unmatched"),
        ("/orders/..%2Fsecret", "orders", "orders unmatched"),
        ("/x/../orders/1", "orders", "orders unmatched"),
        ("/x%2F..%2Fy", "-", "-"),
        // Two protected APIs: the result is neither.
        ("/orders/admin%2F1", "orders ambiguous_path", "orders ambiguous_path"),
        ("/orders/a/..;/admin/1", "orders ambiguous_path", "orders ambiguous_path"),
        ("/@acme/..%2Forders/1", "at ambiguous_path", "at ambiguous_path"),
        ("/limited/too%2F1", "limited ambiguous_path", "limited ambiguous_path"),
    ] {
        assert_eq!(found(&routes("pass", &apis), "a.test", path), passing, "{path}");
        assert_eq!(found(&routes("refuse", &apis), "a.test", path), refusing, "{path}");
    }
}

#[test]
fn an_open_api_is_not_entered_by_a_spelling_that_some_servers_do_not_undo() {
    let routes = routes("pass", &[("all", "", "/"), ("open docs", "", "/@docs/"), ("at", "", "/@acme/")]);
    for (path, api) in
        [("/@docs/1", "open docs"), ("/%40docs/1", "all"), ("/@docs/%40/1", "open docs"), ("/%40acme/1", "at")]
    {
        assert_eq!(found(&routes, "a.test", path), api, "{path}");
    }
}
