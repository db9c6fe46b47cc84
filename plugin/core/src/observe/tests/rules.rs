//! Rules of the configuration.

use proptest::prelude::*;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::access::Prefix;
use crate::config::Config;
use crate::observe::path::Template;

fn config(observe: Value) -> Value {
    json!({ "apis": [{ "api_id": "a", "listen_path": "/in/", "use_keyless": true, "observe": observe }] })
}

fn rules(observe: Value) -> Rules {
    let (config, _) =
        Config::load(config(observe).to_string().as_bytes()).unwrap_or_else(|errors| panic!("{errors:?}"));
    let (index, _) = config.access.routes.iter().next().unwrap();
    config.observation.rules(index).unwrap().clone()
}

fn errors(config: Value) -> Vec<String> {
    let Err(errors) = Config::load(config.to_string().as_bytes()) else { panic!("accepted: {config}") };
    errors.iter().map(ToString::to_string).collect()
}

fn exchange<'e>(method: &'e str, path: &'e str, request: &'e Value, response: &'e Value) -> Exchange<'e> {
    Exchange {
        method,
        path,
        query: "org=from-query&empty=",
        request_type: Some("application/json"),
        request: BodyView::Json(request),
        status: 201,
        location: None,
        response_type: Some("application/json"),
        response: BodyView::Json(response),
    }
}

#[test]
fn a_rule_takes_values_from_everywhere() {
    for (org_id, found) in [
        (json!({ "request": "/x" }), Some("from-request")),
        (json!({ "response": "/org/id" }), Some("7")),
        (json!({ "path": "id" }), Some("k 1")),
        (json!({ "query": "org" }), Some("from-query")),
        (json!({ "query": "empty" }), Some("")),
        (json!({ "value": "fixed" }), Some("fixed")),
        (json!({ "response": "/nowhere" }), Some("")),
        (json!({}), Some("of the API")),
    ] {
        let rule = json!({
            "event": "key_event", "action": "add", "method": "post", "path": "/v1/keys/{id}", "status": [200, 201],
            "org_id": org_id, "data": { "response": "" }, "fingerprints": ["/key"]
        });
        let rules = rules(json!({ "rules": [rule] }));
        let (request, response) =
            (json!({ "x": "from-request" }), json!({ "org": { "id": 7 }, "key": "raw", "password": "p" }));
        let list = rules.occurrences(&exchange("POST", "/in/v1/keys/k%201", &request, &response));
        assert_eq!(list.len(), 1);
        // If the rule's org_id finds nothing, the event has no organisation; the API's would be wrong.
        assert_eq!(list[0].org_id.or(Some("of the API"), |_| true).or(Some("")), found);
        let shown = json!({ "org": { "id": 7 }, "key": crate::access::KeyHash::of(b"raw").fingerprint() });
        assert_eq!(list[0].payload, shown);
        assert_eq!(list[0].name(), "key_event.add");
    }
}

#[test]
fn a_portal_rule_fills_the_message_and_leaves_out_missing_values() {
    let rules = rules(json!({ "rules": [{
        "event": "OrganizationRegistered", "method": "POST", "path": "/orgs",
        "message": { "ID": { "response": "/id" }, "Name": { "request": "/name" }, "CreatedAt": { "response": "/at" } }
    }] }));
    let watch = rules.watch("POST", "/in/orgs").unwrap();
    assert!(watch.needs_request && watch.needs_response);
    let (request, response) = (json!({ "name": "Acme" }), json!({ "id": 3 }));
    let list = rules.occurrences(&exchange("POST", "/in/orgs", &request, &response));
    assert_eq!(
        list[0].body(NOW),
        r#"{"Event":"OrganisationRegistered","Message":{"ID":3,"Name":"Acme"},"Timestamp":"2026-10-21T08:15:30.250Z"}"#
    );
    let fields = [("name".to_owned(), "Acme".to_owned())];
    let form = Exchange { request: BodyView::Form(&fields), ..exchange("POST", "/in/orgs", &request, &response) };
    assert_eq!(rules.occurrences(&form)[0].payload, json!({ "ID": 3, "Name": "Acme" }));
}

#[test]
fn a_portal_rules_values_have_the_types_of_the_message() {
    let rules = rules(json!({ "rules": [{
        "event": "AccessRequestCreated", "method": "POST", "path": "/users/{id}",
        "message": {
            "ID": { "path": "id" }, "AppID": { "query": "app" }, "ByUser": { "request": "/by" },
            "ProductIDs": { "request": "/products" }, "PlanID": { "value": "5000000000" },
            "Status": { "request": "/status" }, "CreatedAt": { "response": "/at" }
        }
    }] }));
    let message = |path, query, request: Value, at: &str| {
        let response = json!({ "at": at });
        let exchange = Exchange { query, ..exchange("POST", path, &request, &response) };
        rules.occurrences(&exchange).pop().unwrap().payload
    };
    assert_eq!(
        message(
            "/in/users/29",
            "app=3",
            json!({ "by": 7, "products": [1, "2"], "status": "pending" }),
            "2026-01-01T00:00:00Z"
        ),
        json!({ "ID": 29, "AppID": 3, "ByUser": 7, "ProductIDs": [1, 2], "PlanID": 5_000_000_000_u64,
            "Status": "pending", "CreatedAt": "2026-01-01T00:00:00Z" })
    );
    // A value of another type is left out, because receivers rely on the type.
    assert_eq!(
        message("/in/users/me", "app=1.5", json!({ "by": 1.5, "products": [1, "x"], "status": 5 }), "2026-01-01 00:00"),
        json!({ "PlanID": 5_000_000_000_u64 })
    );
    let form = [("by".to_owned(), "7".to_owned()), ("products".to_owned(), "1".to_owned())];
    let nothing = Value::Null;
    let posted = Exchange { request: BodyView::Form(&form), ..exchange("POST", "/in/users/1", &nothing, &nothing) };
    assert_eq!(
        rules.occurrences(&posted)[0].payload,
        json!({ "ID": 1, "ByUser": 7, "PlanID": 5_000_000_000_u64 }),
        "text is not a list"
    );
}

#[test]
fn a_key_that_a_rule_names_is_shown_as_its_fingerprint() {
    let shown = |rule: Value, response: &Value| {
        let mut full = json!({ "event": "key_event", "action": "add", "method": "POST", "path": "/k" });
        full.as_object_mut().unwrap().extend(rule.as_object().unwrap().clone());
        let rules = rules(json!({ "rules": [full] }));
        rules.occurrences(&exchange("POST", "/in/k", &Value::Null, response)).pop().unwrap().payload
    };
    let raw = crate::access::KeyHash::of(b"raw").fingerprint();
    let answer = json!({ "api_key": "raw", "other_key": "x", "auth_token": "y" });
    assert_eq!(
        shown(json!({ "data": { "response": "" }, "fingerprints": ["/api_key"] }), &answer),
        json!({ "api_key": raw, "other_key": "x" })
    );
    assert_eq!(shown(json!({ "data": { "response": "/api_key" }, "fingerprints": [""] }), &answer), json!(raw));
    let headers = json!({ "x": { "headers": { "X-Key": "raw" } } });
    assert_eq!(shown(json!({ "data": { "response": "/x/headers" } }), &headers), json!({ "X-Key": "" }));
}

#[test]
fn only_the_exchanges_of_rules_are_watched() {
    let rules = rules(json!({ "rules": [
        { "event": "api_event", "action": "delete", "method": "DELETE", "path": "/a/{id}", "data": { "path": "id" } },
        { "event": "key_event", "action": "add", "method": "POST", "path": "/a/{id}", "data": { "request": "" } },
        { "event": "key_event", "action": "update", "method": "POST", "path": "/a/special", "data": { "response": "" } }
    ] }));
    let watch = |method, path| rules.watch(method, path).map(|watch| (watch.needs_request, watch.needs_response));
    assert_eq!(watch("DELETE", "/in/a/1"), Some((false, false)));
    assert_eq!(watch("POST", "/in/a/1"), Some((true, false)));
    assert_eq!(watch("POST", "/in/a/special"), Some((false, true)));
    for (method, path) in
        [("GET", "/in/a/1"), ("POST", "/a/1"), ("POST", "/in/a/1/"), ("POST", "/in/a/"), ("POST", "/in")]
    {
        assert_eq!(watch(method, path), None, "{method} {path}");
    }
}

#[test]
fn a_failed_exchange_is_no_event() {
    let rules = rules(json!({ "rules": [{ "event": "password_reset_event", "method": "POST", "path": "/reset" }] }));
    let nothing = Value::Null;
    for (status, count) in [(200, 1), (204, 1), (302, 0), (401, 0), (500, 0)] {
        let exchange = Exchange { status, ..exchange("POST", "/in/reset", &nothing, &nothing) };
        assert_eq!(rules.occurrences(&exchange).len(), count, "{status}");
    }
}

#[test]
fn mistakes_in_rules_are_reported_with_their_paths() {
    let rule = json!({
        "event": "UserRegistred", "action": "add", "method": "POST", "path": "v1", "status": [99],
        "org_id": { "path": "id", "query": "x" }
    });
    assert_eq!(
        errors(config(json!({ "preset": "tyk-dashbord", "rules": [rule], "max_body_bytes": 0, "rule": [] }))),
        [
            "apis[0].observe.max_body_bytes: 0 is less than 1",
            "apis[0].observe.preset: \"tyk-dashbord\" is not one of tyk-gateway, tyk-dashboard, tyk-portal",
            "apis[0].observe.rule: unknown field (did you mean \"rules\"?)",
            "apis[0].observe.rules[0].status[0]: 99 is less than 100",
            "apis[0].observe.rules[0].event: no management event has this name (did you mean \"UserRegistered\"?)",
            "apis[0].observe.rules[0].path: \"v1\" does not start with /",
            "apis[0].observe.rules[0].org_id: needs one of request, response, path, query, value",
        ]
    );
    for (rule, expected) in [
        (json!({ "event": "key_event" }), "action: missing: one of add, update, delete"),
        (
            json!({ "event": "key_event", "action": "added" }),
            "action: \"added\" is not one of add, update, delete (did you mean \"add\"?)",
        ),
        (json!({ "event": "PasswordReset", "action": "add" }), "action: PasswordReset has none"),
        (
            json!({ "event": "PasswordReset", "data": { "request": "" } }),
            "data: is for the dashboard's events; PasswordReset has message",
        ),
        (
            json!({ "event": "PasswordReset", "message": { "Emial": { "value": 1 } } }),
            "message.Emial: PasswordReset has no field of this name (did you mean \"Email\"?)",
        ),
        (
            json!({ "event": "PasswordReset", "message": { "Email": {} } }),
            "message.Email: needs one of request, response, path, query, value",
        ),
        (
            json!({ "event": "password_reset_event", "message": { "Email": { "value": 1 } } }),
            "message: is for the portal's events; password_reset_event has data",
        ),
        (
            json!({ "event": "password_reset_event", "data": { "request": "a" } }),
            "data.request: \"a\" is not a JSON pointer: \"\" for the whole, or such as \"/data/id\"",
        ),
        (
            json!({ "event": "password_reset_event", "data": { "request": "/user/Password" } }),
            "data.request: \"/user/Password\" is the place of a credential, which no payload shows",
        ),
        (
            json!({ "event": "password_reset_event", "data": { "request": "/user/headers/X-Any" } }),
            "data.request: \"/user/headers/X-Any\" is the place of a credential, which no payload shows",
        ),
        (
            json!({ "event": "password_reset_event", "data": { "query": "api_key" } }),
            "data.query: \"api_key\" is the name of a credential, which no payload shows",
        ),
        (
            json!({ "event": "password_reset_event", "data": { "request": "" }, "fingerprints": ["/password"] }),
            "fingerprints[0]: \"/password\" is the place of a credential, which no payload shows",
        ),
        (
            json!({ "event": "UserRegistered", "message": { "Status": { "value": 5 } } }),
            "message.Status.value: expected a string, found a number",
        ),
        (
            json!({ "event": "UserRegistered", "message": { "ID": { "value": "one" } } }),
            "message.ID.value: expected a whole number, found a string",
        ),
        (
            json!({ "event": "UserRegistered", "message": { "CustomAttributes": { "value": [{ "Identifier": "a" }] } } }),
            "message.CustomAttributes.value[0].Value: missing: a string",
        ),
        (
            json!({ "event": "UserRegistered", "message": { "CreatedAt": { "value": "2024-04-22 16:38" } } }),
            "message.CreatedAt.value: expected an RFC 3339 time such as \"2024-04-22T16:38:54Z\", found another string",
        ),
        (
            json!({ "event": "password_reset_event", "data": { "value": "x" } }),
            "data.value: expected an object, found a string",
        ),
        (
            json!({ "event": "key_request_event", "action": "submitted", "data": { "value": { "approved": "no" } } }),
            "data.value.approved: expected true or false, found a string",
        ),
        (
            json!({ "event": "password_reset_event", "data": { "path": "idd" } }),
            "data.path: the rule's path has no {idd} (did you mean \"id\"?)",
        ),
        (
            json!({ "event": "password_reset_event", "data": { "path": 1 } }),
            "data.path: expected a string, found a number; quote it",
        ),
        (
            json!({ "event": "password_reset_event", "path": "/a/{}" }),
            "path: \"{}\" is neither literal nor a name in braces, such as {id}",
        ),
        (json!({ "event": "password_reset_event", "path": "/{a}/{a}" }), "path: \"{a}\" is used twice"),
        (
            json!({ "event": "password_reset_event", "path": "/a?b" }),
            "path: \"/a?b\" is not a path: it has blanks, a query or a fragment",
        ),
        (
            json!({ "event": "password_reset_event", "fingerprints": ["x"] }),
            "fingerprints[0]: \"x\" is not a JSON pointer: \"\" for the whole, or such as \"/data/id\"",
        ),
    ] {
        let mut full = json!({ "method": "POST", "path": "/{id}" });
        full.as_object_mut().unwrap().extend(rule.as_object().unwrap().clone());
        assert_eq!(errors(config(json!({ "rules": [full] }))), [format!("apis[0].observe.rules[0].{expected}")]);
    }
    assert_eq!(
        errors(config(json!({ "rules": [{}] }))),
        ["event", "method", "path"].map(|field| format!("apis[0].observe.rules[0].{field}: missing"))
    );
}

#[test]
fn a_rule_without_effect_is_a_warning() {
    let warnings = |config: Value| -> Vec<String> {
        let (_, warnings) =
            Config::load(config.to_string().as_bytes()).unwrap_or_else(|errors| panic!("{config}: {errors:?}"));
        warnings.iter().map(ToString::to_string).collect()
    };
    let rule = |event: &str, method: &str, path: &str, more: Value| {
        let mut rule = json!({ "event": event, "method": method, "path": path });
        rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        rule
    };
    let whole = || json!({ "action": "add", "data": { "request": "" } });
    let says_nothing = "missing: the event has no payload";
    let outranked = "has no effect: the preset has a more specific rule for these requests";
    for (observe, expected) in [
        (
            json!({ "max_body_bytes": 1000 }),
            vec!["max_body_bytes: has no effect: there are neither a preset nor rules"],
        ),
        (json!({}), vec![]),
        (json!({ "preset": "tyk-portal", "max_body_bytes": 1000 }), vec![]),
        (
            json!({ "rules": [rule("UserRegistered", "POST", "/u", json!({}))] }),
            vec![&*format!("rules[0].message: {says_nothing}")],
        ),
        (
            json!({ "rules": [rule("key_event", "POST", "/k", whole()), rule("key_event", "PUT", "/k", json!({ "action": "update" }))] }),
            vec![&*format!("rules[1].data: {says_nothing}")],
        ),
        (
            json!({ "preset": "tyk-gateway", "rules": [
                rule("key_event", "POST", "/tyk/keys/create", whole()),
                rule("key_event", "POST", "/tyk/keys/{any}", whole()),
                rule("key_event", "POST", "/keys/{any}", whole()),
                rule("key_event", "POST", "/keys/special", whole()),
                rule("key_event", "POST", "/{any}/create", whole()),
                rule("key_event", "POST", "/{any}/oas", whole()),
                rule("key_event", "PATCH", "/tyk/keys/create", whole())
            ] }),
            vec![&*format!("rules[0].path: {outranked}")],
        ),
    ] {
        let expected: Vec<String> = expected.iter().map(|warning| format!("apis[0].observe.{warning}")).collect();
        let mut found = warnings(config(observe.clone()));
        found.retain(|warning| !warning.contains("no one is notified of management events"));
        assert_eq!(found, expected, "{observe}");
    }
    let mut admin = config(json!({}));
    admin["admin"] = json!({ "path_prefix": "/in", "page": false });
    assert_eq!(
        warnings(admin.clone()),
        [
            "admin.path_prefix: has no effect: without token_sha256 there are no endpoints",
            "admin.page: has no effect: without token_sha256 there is no page"
        ]
    );
    admin["admin"]["path_prefix"] = "/ops".into();
    admin["admin"]["token_sha256"] = "00".repeat(32).into();
    for (listen_path, expected) in [
        (
            "/ops/api/",
            &["apis[0].listen_path: receives no requests: the admin endpoints answer everything below /ops"][..],
        ),
        ("/opsy/", &[]),
    ] {
        admin["apis"][0]["listen_path"] = listen_path.into();
        assert_eq!(warnings(admin.clone()), expected);
    }
}

#[test]
fn a_rules_path_is_below_the_listen_path_or_complete() {
    let post = |path: &str| json!({ "rules": [{ "event": "OrganizationRegistered", "method": "POST", "path": path }] });
    for (path, matching, others) in [
        ("/orgs/{id}", &["/in/orgs/1"][..], &["/in/orgs", "/orgs/1", "/in/in/orgs/1", "/inorgs/1"][..]),
        ("/in/orgs/{id}", &["/in/orgs/1", "/in/in/orgs/1"], &["/in/orgs", "/in/1", "/orgs/1"]),
        ("/in", &["/in/in"], &["/in/orgs", "/other"]),
    ] {
        let rules = rules(post(path));
        for request in matching {
            assert!(rules.watch("POST", request).is_some(), "{path} is for {request}");
        }
        for request in others {
            assert!(rules.watch("POST", request).is_none(), "{path} is not for {request}");
        }
    }
}

#[test]
fn a_rule_whose_requests_belong_to_another_api_is_a_warning() {
    let warnings = |listen_path: &str, rule: &str| -> Vec<String> {
        let config = json!({ "apis": [
            { "api_id": "a", "listen_path": listen_path, "use_keyless": true, "observe": { "rules": [
                { "event": "UserRegistered", "method": "POST", "path": rule, "message": { "ID": { "response": "/id" } } }
            ] } },
            { "api_id": "b", "listen_path": "/in/keys/", "use_keyless": true },
            { "api_id": "c", "listen_path": "/out/", "use_keyless": true, "domain": "elsewhere.test" }
        ] });
        let (_, warnings) =
            Config::load(config.to_string().as_bytes()).unwrap_or_else(|errors| panic!("{config}: {errors:?}"));
        let texts = warnings.iter().map(ToString::to_string);
        texts.filter(|text| text.starts_with("apis[0].observe.rules[0].path")).collect()
    };
    let shadowed = |path: &str| {
        vec![format!("apis[0].observe.rules[0].path: never matches: requests to {path:?} belong to the API \"b\"")]
    };
    assert_eq!(warnings("/in/", "/keys/{id}"), shadowed("/in/keys/{id}"));
    assert_eq!(warnings("/in/", "/in/keys/1"), [""; 0], "/in/in/keys/1 belongs to a");
    assert_eq!(warnings("/in/", "/%6beys/{id}"), shadowed("/in/%6beys/{id}"), "in another spelling");
    assert_eq!(warnings("/", "/in/keys/{id}"), shadowed("/in/keys/{id}"));
    for of_its_own in ["/users/{id}", "/keysmith/1"] {
        assert_eq!(warnings("/in/", of_its_own), [""; 0], "{of_its_own}");
    }
    // Only requests to another host belong to c.
    assert_eq!(warnings("/", "/out/users"), [""; 0]);
}

#[test]
fn event_options_are_read_in_tyks_form() {
    let options = json!({
        "api_event": { "webhook": "http://u:p@hooks.example.com/api?x=1", "email": "ops@acme.test" },
        "key_event": { "webhook": "", "email": "", "redis": true },
        "hashed_key_event": { "webhook": null, "email": null, "redis": false },
        "key_request_event": { "email": "keys@acme.test" },
        "password_reset_event": null, "portal_password_reset_event": {}
    });
    let config =
        json!({ "orgs": { "acme": { "event_options": options }, "other": { "event_options": null }, "third": null } });
    let (config, warnings) = Config::load(config.to_string().as_bytes()).unwrap_or_else(|errors| panic!("{errors:?}"));
    let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert!(warnings.contains(
        &"orgs.acme.event_options.key_event.redis: has no effect: tollbell has no data planes to notify".to_owned()
    ));
    let unnoticed =
        warnings.iter().filter(|warning| warning.contains("email: no one is notified: email_backend is not enabled"));
    assert_eq!((unnoticed.count(), warnings.len()), (2, 4), "{warnings:?}");
    assert_eq!(config.notifications.org_handlers.keys().collect::<Vec<_>>(), ["acme"]);
    let handlers: Vec<_> = config.notifications.handlers.iter().collect();
    let [handler] = &handlers[..] else { panic!("{handlers:?}") };
    assert_eq!(handler.name, "orgs[acme].event_options.api_event.webhook");
    let channel = handler.action.channel().unwrap();
    assert_eq!(channel.target.path_and_query, "/api?x=1");
    let crate::notify::Form::Webhook(webhook) = &channel.form else { panic!("{channel:?}") };
    assert!(webhook.headers.contains(&("authorization".to_owned(), "Basic dTpw".to_owned())));
    assert!(!format!("{handler:?}").contains("dTpw"));
}

#[test]
fn mistakes_in_event_options_are_reported_with_their_paths() {
    let options = json!({
        "api_evnt": {}, "PasswordReset": {}, "key_event": { "webhook": "hooks", "email": "ops", "mail": "x" }
    });
    assert_eq!(
        errors(json!({ "orgs": { "acme": { "event_options": options } } })),
        [
            "orgs.acme.event_options.key_event.mail: unknown field (did you mean \"email\"?)",
            "orgs.acme.event_options.api_evnt: no event has this name (did you mean \"api_event\"?)",
            "orgs.acme.event_options.key_event.webhook: \"hooks\" is not an absolute http or https URL",
            "orgs.acme.event_options.key_event.email: no address: it has no @",
        ]
    );
}

proptest! {
    #[test]
    fn no_path_and_no_template_panics(
        template in "[/a{}%?]{0,12}", path in ".{0,20}", listen in "/[a/]{0,4}",
    ) {
        if let Ok(template) = Template::parse(&template) {
            let _ = template.matches(&path);
            let _ = template.captures(&path);
        }
        for preset in Preset::ALL {
            let rules = Rules::new(Prefix::parse(&listen).unwrap_or_default(), Some(preset), Vec::new(), 1024);
            for method in ["POST", "PUT", "DELETE"] {
                let _ = rules.watch(method, &path);
            }
        }
    }

    #[test]
    fn no_pointer_panics(pointer in "[/~01a]{0,8}", body in "[a=&/]{0,12}") {
        let source = ValueSource::Request(pointer);
        let rule = FreeRule {
            kind: EventKind::KeyEvent,
            action: Some(ManagementAction::Add),
            method: "POST".to_owned(),
            path: Template::parse("/a").unwrap(),
            status: Vec::new(),
            org_id: Some(source.clone()),
            payload: Payload::Whole(source),
            fingerprints: vec!["/a".to_owned()],
        };
        let rules = Rules::new(Prefix::default(), None, vec![rule], 1024);
        let mut collector = Collector::new(Some("application/x-www-form-urlencoded"), None, 1024, &BodyPool::default());
        collector.push(body.as_bytes());
        let request = collector.finish();
        let nothing = Value::Null;
        let exchange = Exchange { request: request.view(), ..exchange("POST", "/a", &nothing, &nothing) };
        prop_assert_eq!(rules.occurrences(&exchange).len(), 1);
    }
}
