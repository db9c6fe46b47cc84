//! Compares the presets with the exchanges and with the table of fields.

use proptest::prelude::*;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::exchanges::{Case, all};
use super::*;
use crate::access::Prefix;
use crate::observe::path::Template;

fn as_expected(case: &Case) -> Vec<(String, Option<String>, Value)> {
    let expected = case.expected.iter();
    expected.map(|(name, org, payload)| ((*name).to_owned(), org.map(str::to_owned), payload.clone())).collect()
}

fn as_found(list: Vec<Occurrence>) -> Vec<(String, Option<String>, Value)> {
    let org = |occurrence: &Occurrence| occurrence.org_id.named().map(str::to_owned);
    list.into_iter().map(|occurrence| (occurrence.name(), org(&occurrence), occurrence.payload)).collect()
}

/// The fields of a payload in the table's form: a field with fields of its own in the table is replaced by those.
fn members(payload: &Value, fields: &[&str]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (name, value) in payload.as_object().unwrap() {
        let inner = format!("{name}.");
        if fields.iter().any(|field| field.starts_with(&inner)) {
            names.extend(value.as_object().unwrap().keys().map(|member| format!("{inner}{member}")));
        } else {
            names.insert(name.clone());
        }
    }
    names
}

#[test]
fn every_operation_has_its_events() {
    for case in all() {
        let expected = as_expected(&case);
        for (listen_path, before) in [("/", ""), ("/in/", "/in"), ("/in", "/in")] {
            assert_eq!(as_found(case.run(listen_path, before)), expected, "{} {}", case.operation, case.target);
        }
        // The listen_path is a part of the application's own path.
        let first = case.target.split('/').nth(1).unwrap();
        let listen_path = format!("/{}/", first.split('?').next().unwrap());
        assert_eq!(as_found(case.run(&listen_path, "")), expected, "{} {}", case.operation, case.target);
    }
}

#[test]
fn the_table_has_every_operation_and_no_others() {
    for preset in Preset::ALL {
        let mut operations = BTreeSet::new();
        for row in preset.rows() {
            Template::parse(row.path).unwrap();
            if row.is_event {
                assert!(operations.insert(row.operation()), "{} twice", row.operation());
            }
        }
        let table: BTreeSet<String> =
            TABLE.iter().filter(|row| row.preset == preset).map(|row| row.operation.to_owned()).collect();
        assert_eq!(operations, table);
    }
}

#[test]
fn payloads_have_the_fields_of_the_table_and_no_others() {
    let cases = all();
    for row in TABLE {
        let name = row.action.map_or_else(|| row.kind.to_string(), |action| format!("{}.{}", row.kind, action.name()));
        let of_row = |case: &&Case| case.preset == row.preset && case.operation == row.operation;
        let payloads =
            cases.iter().filter(of_row).flat_map(|case| case.run("/", "")).filter(|found| found.name() == name);
        let seen: Vec<BTreeSet<String>> = payloads.map(|found| members(&found.payload, row.fields)).collect();
        assert!(!seen.is_empty(), "{} {name}: no case", row.operation);
        let always: BTreeSet<String> =
            row.fields.iter().filter(|field| !field.ends_with('?')).map(|field| (*field).to_owned()).collect();
        let ever: BTreeSet<String> = row.fields.iter().map(|field| field.trim_end_matches('?').to_owned()).collect();
        for names in &seen {
            assert!(always.is_subset(names), "{} {name}: {names:?}", row.operation);
        }
        // An optional field is present in some case, except those that depend on how an API is described.
        let union: BTreeSet<String> = seen.into_iter().flatten().collect();
        assert!(union.is_subset(&ever), "{} {name}: {union:?}", row.operation);
        let unseen: BTreeSet<_> = ever.difference(&union).collect();
        assert!(unseen.is_empty(), "{} {name}: {unseen:?} in no case", row.operation);
        if row.kind.is_portal() {
            let known: BTreeSet<String> = shapes::fields(row.kind).iter().map(|field| field.name.to_owned()).collect();
            assert!(ever.is_subset(&known), "{} {name}", row.operation);
        }
    }
}

#[test]
fn a_failed_operation_is_no_event() {
    for case in all() {
        let what = format!("{} {}", case.operation, case.target);
        for status in [400, 401, 403, 404, 422, 500, 502] {
            let failed = Case { status, ..case.clone_with(case.response.clone()) };
            assert_eq!(failed.run("/", ""), [], "{what}: {status}");
        }
        if case.location.is_some() {
            let own = case.target.split('?').next().unwrap().to_owned();
            let login = if own.starts_with("/auth/") { "/auth/password/new" } else { "/auth/login" };
            for status in [302, 303] {
                let back = Case { status, location: Some(login), ..case.clone_with(case.response.clone()) };
                assert_eq!(back.run("/", ""), [], "{what}: back to {login}");
                let nowhere = Case { status, location: None, ..case.clone_with(case.response.clone()) };
                assert_eq!(nowhere.run("/", ""), [], "{what}: nowhere");
            }
        } else if !case.operation.contains("/admin/") {
            for response in [
                json!({ "Status": "Error", "Message": "API created", "status": "error" }),
                json!({ "status": "error", "message": "no" }),
                json!([]),
            ] {
                let failed = case.clone_with(Body::Json(response));
                assert_eq!(failed.run("/", ""), [], "{what}");
            }
            for response in [Body::None, Body::Unreadable("compressed with br".to_owned())] {
                assert_eq!(case.clone_with(response).run("/", ""), [], "{what}");
            }
        }
    }
}

impl Case {
    pub(super) fn clone_with(&self, response: Body) -> Case {
        let Case { preset, operation, method, status, location, .. } = *self;
        let (target, request, expected) = (self.target.clone(), self.request.clone(), self.expected.clone());
        Case { preset, operation, method, target, request, status, location, response, expected }
    }
}

#[test]
fn exchanges_without_events_are_not_watched() {
    let watch = |preset, method: &str, path: &str| {
        Rules::new(Prefix::default(), Some(preset), Vec::new(), 1).watch(method, path)
    };
    for (preset, method, path) in [
        (Preset::Gateway, "GET", "/tyk/keys/mine"),
        (Preset::Gateway, "POST", "/tyk/keys/preview"),
        (Preset::Gateway, "POST", "/tyk/org/keys/acme"),
        (Preset::Gateway, "POST", "/tyk/policies"),
        (Preset::Gateway, "POST", "/tyk/reload"),
        (Preset::Dashboard, "GET", "/api/keys/mine"),
        (Preset::Dashboard, "POST", "/portal-api/users"),
        (Preset::Dashboard, "PUT", "/api/apis/i/access"),
        (Preset::Dashboard, "POST", "/tyk/keys"),
        (Preset::Portal, "POST", "/api/portal/developers"),
        (Preset::Portal, "POST", "/api/keys"),
        (Preset::Portal, "GET", "/auth/password/register"),
        (Preset::Portal, "POST", "/tib/auth/1/saml/callback"),
    ] {
        assert_eq!(watch(preset, method, path), None, "{} {method} {path}", preset.name());
    }
    let activate = watch(Preset::Portal, "POST", "/admin/users/7/activate").unwrap();
    assert!(!activate.needs_request && !activate.needs_response);
}

#[test]
fn a_preview_of_a_key_is_no_event() {
    let mut case = all().into_iter().find(|case| case.operation == "POST /keys/{name}").unwrap();
    assert_eq!(case.run("/", "").len(), 1);
    case.target = "/tyk/keys/preview".to_owned();
    assert_eq!(case.run("/", ""), []);
}

#[test]
fn saving_a_whole_user_is_no_event() {
    let case = all().into_iter().find(|case| case.operation == "PUT /portal-api/users/{id}").unwrap();
    // Last, the whole user, as the portal's own page saves it: an active user is still active.
    let whole = json!({ "ID": 7, "Email": "dev@acme.test", "First": "Test", "Last": "User", "Active": true });
    let named = json!({ "Last": "User", "Active": true });
    for request in [json!({}), json!({ "Active": "true" }), json!({ "Active": false }), json!([]), named, whole] {
        let case = Case { request: Body::Json(request), ..case.clone_with(case.response.clone()) };
        assert_eq!(case.run("/", ""), []);
    }
}

#[test]
fn no_raw_key_and_no_password_is_in_a_payload() {
    for case in all() {
        for occurrence in case.run("/", "") {
            let body = occurrence.body(NOW);
            for secret in ["5e2743567c1f8800018bdf35f00", "0b6a4f0e5d5c4e0f9a3c2d1e4b5a6978", "eyJvcmci", "hunter2"] {
                assert!(!body.contains(secret), "{}: {secret} in {body}", case.operation);
            }
        }
    }
}

#[test]
fn the_developer_of_a_form_is_the_person_concerned() {
    let case = all().into_iter().find(|case| case.operation == "POST /portal/private/users/invite").unwrap();
    let person = case.run("/", "")[0].concerned.clone().unwrap();
    assert_eq!(person.address.as_str(), "dev@acme.test");
    assert_eq!(person.name.unwrap().as_str(), "Test User");
}

/// JSON with the names that the rules look for.
fn json() -> impl Strategy<Value = Value> {
    let name = "Status|status|Message|ID|key|key_id|data|org_id|api_definition|RawKey|Active|Email|event|Event";
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "OK|ok|API created|Key deleted|key_event.add|UserRegistered|.{0,30}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name, inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_exchange_panics(request in json(), response in json(), status in prop_oneof![Just(200), any::<u16>()]) {
        for case in all() {
            let request = Body::Json(request.clone());
            let case = Case { request, status, ..case.clone_with(Body::Json(response.clone())) };
            for occurrence in case.run("/", "") {
                let _ = (occurrence.body(NOW), occurrence.stable_body());
            }
        }
    }

    #[test]
    fn no_post_panics(json in json()) {
        if let Ok(occurrence) = posted(&json, NOW) {
            prop_assert!(serde_json::from_str::<Value>(&occurrence.body(NOW)).is_ok());
        }
    }
}
