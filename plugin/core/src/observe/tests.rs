use std::collections::BTreeSet;

use serde_json::{Value, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::body::{Body, BodyPool, Collector};
use super::exchange::{BodyView, Exchange};
use super::fields::{TABLE, markdown};
use super::occurrence::{Occurrence, OrgId};
use super::path::Template;
use super::posted::posted;
use super::presets::Preset;
use super::rules::{FreeRule, Payload, Rules, ValueSource};
use super::shapes;
use crate::base::UnixMillis;
use crate::event::{EventKind, ManagementAction};

mod bodies;
mod exchanges;
mod presets;
mod rules;
mod samples;
mod secrets;

const NOW: UnixMillis = UnixMillis(1_792_570_530_250);

fn read(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn errors(json: &Value) -> Vec<String> {
    let Err(errors) = posted(json, NOW) else { panic!("accepted: {json}") };
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn portal_events_have_samples_and_two_spellings() {
    for kind in EventKind::of_management() {
        assert_eq!(EventKind::from_name(&kind.name().replace("Organisation", "Organization")), Some(kind));
        assert_eq!(kind.is_portal(), !shapes::fields(kind).is_empty() && kind != EventKind::KeyRequestEvent);
    }
    assert_eq!(EventKind::of_management().filter(|kind| kind.is_portal()).count(), 13);
    assert_eq!(EventKind::from_name("organizationRegistered"), None);
}

#[test]
fn the_portals_samples_are_read_and_written_unchanged() {
    let mut seen = BTreeSet::new();
    for sample in samples::portal() {
        let occurrence = posted(&read(sample), NOW).unwrap_or_else(|errors| panic!("{sample}: {errors:?}"));
        assert_eq!(occurrence.body(NOW), sample);
        assert_eq!(occurrence.action, None);
        assert!(occurrence.stable_body().ends_with(r#""Timestamp":""}"#));
        seen.insert(occurrence.kind);
    }
    assert_eq!(seen.len(), 13);
}

#[test]
fn the_sample_of_a_key_request_is_read_and_written_unchanged() {
    let occurrence = posted(&read(samples::key_request()), NOW).unwrap();
    assert_eq!(occurrence.body(NOW), samples::key_request());
    assert_eq!(occurrence.stable_body(), samples::key_request());
    assert_eq!(occurrence.org_id.named(), Some("5e2743567c1f8800018bdf35"));
    assert_eq!(occurrence.concerned.unwrap().in_header(), "dev@example.com");
}

#[test]
fn a_portal_event_can_be_posted_in_the_short_form_and_gets_a_timestamp() {
    for sample in samples::portal() {
        let full = read(sample);
        let name = full["Event"].as_str().unwrap().replace("Organisation", "Organization");
        let short = json!({ "event": name, "org_id": "acme", "data": full["Message"] });
        let occurrence = posted(&short, NOW).unwrap_or_else(|errors| panic!("{sample}: {errors:?}"));
        let mut expected = full.clone();
        expected["Timestamp"] = NOW.to_rfc3339().into();
        assert_eq!(read(&occurrence.body(UnixMillis(0))), expected);
        assert_eq!(occurrence.org_id.named(), Some("acme"));

        let mut without = full.clone();
        without.as_object_mut().unwrap().remove("Timestamp");
        assert_eq!(read(&posted(&without, NOW).unwrap().body(UnixMillis(0))), expected);
    }
}

#[test]
fn two_events_of_one_cause_have_one_stable_body() {
    let mut sample = read(samples::portal_at(0));
    let first = posted(&sample, NOW).unwrap();
    sample["Timestamp"] = "2030-01-01T00:00:00Z".into();
    let second = posted(&sample, NOW).unwrap();
    assert_ne!(first.body(NOW), second.body(NOW));
    assert_eq!(first.stable_body(), second.stable_body());
}

#[test]
fn dashboard_events_are_posted_with_their_action_in_either_place() {
    for kind in EventKind::of_management().filter(|kind| !kind.is_portal()) {
        let post = |event: String, action: Option<&str>| {
            let mut json = json!({ "event": event, "org_id": "acme", "data": { "anything": [1, { "z": 1, "a": 2 }] } });
            if let Some(action) = action {
                json["action"] = action.into();
            }
            posted(&json, NOW).unwrap().body(NOW)
        };
        let data = r#""data":{"anything":[1,{"a":2,"z":1}]}"#;
        for action in kind.actions() {
            let body = format!("{{\"event\":\"{kind}.{}\",{data}}}", action.name());
            assert_eq!(post(format!("{kind}.{}", action.name()), None), body);
            assert_eq!(post(kind.to_string(), Some(action.name())), body);
        }
        if kind.actions().is_empty() {
            assert_eq!(post(kind.to_string(), None), format!("{{\"event\":\"{kind}\",{data}}}"));
        }
    }
    let in_data = json!({ "event": "key_event.add", "data": { "org_id": "acme" } });
    assert_eq!(posted(&in_data, NOW).unwrap().org_id.named(), Some("acme"));
}

#[test]
fn the_person_concerned_is_the_one_of_the_payload() {
    let person = |sample: &str| posted(&read(sample), NOW).unwrap().concerned;
    let user = person(samples::portal_at(0)).unwrap();
    assert_eq!(user.address.as_str(), "developer@user.com");
    assert_eq!(user.name.unwrap().as_str(), "FirstName Lastname");
    let admin = person(samples::portal_at(12)).unwrap();
    assert_eq!((admin.address.as_str(), admin.name), ("dev@tyk.io", None));
    assert_eq!(person(samples::portal_at(4)), None);
    let mut sample = read(samples::portal_at(0));
    sample["Message"]["Email"] = "a@b.test\r\nBcc: c@d.test".into();
    assert_eq!(posted(&sample, NOW).unwrap().concerned, None);
}

#[test]
fn each_field_of_a_portal_event_is_checked_for_type_and_presence() {
    for sample in samples::portal() {
        let full = read(sample);
        let kind = EventKind::from_name(full["Event"].as_str().unwrap()).unwrap();
        for field in shapes::fields(kind) {
            let place = format!("Message.{}", field.name);
            let mut wrong = full.clone();
            wrong["Message"][field.name] = json!({ "no": "field is an object" });
            let list = errors(&wrong);
            assert!(list.len() == 1 && list[0].starts_with(&format!("{place}: expected ")), "{kind}: {list:?}");

            let mut missing = full.clone();
            missing["Message"].as_object_mut().unwrap().remove(field.name);
            if field.required {
                assert_eq!(errors(&missing), [format!("{place}: missing: {}", field.of)]);
            } else {
                posted(&missing, NOW).unwrap();
            }
        }
        let mut more = full.clone();
        more["Message"]["Statos"] = 1.into();
        let list = errors(&more);
        assert!(list.len() == 1 && list[0].starts_with("Message.Statos: unknown field"), "{list:?}");
    }
}

#[test]
fn all_errors_of_a_posted_event_are_reported_at_once() {
    let mut sample = read(samples::portal_at(0));
    sample["Timestamp"] = "yesterday".into();
    sample["Massage"] = 1.into();
    sample["Message"]["ID"] = "29".into();
    sample["Message"]["OrgID"] = 1.5.into();
    sample["Message"]["CreatedAt"] = "2024-04-22 16:38".into();
    sample["Message"]["CustomAttributes"] = json!([{ "Identifier": 1, "Valu": "x" }, "y"]);
    assert_eq!(
        errors(&sample),
        [
            "Massage: unknown field (did you mean \"Message\"?)",
            "Timestamp: expected an RFC 3339 time such as \"2024-04-22T16:38:54Z\", found another string",
            "Message.ID: expected a whole number, found a string",
            "Message.OrgID: expected a whole number, found another number",
            "Message.CreatedAt: expected an RFC 3339 time such as \"2024-04-22T16:38:54Z\", found another string",
            "Message.CustomAttributes[0].Identifier: expected a string, found a number",
            "Message.CustomAttributes[0].Value: missing: a string",
            "Message.CustomAttributes[0].Valu: unknown field (did you mean \"Value\"?)",
            "Message.CustomAttributes[1]: expected an object, found a string",
        ]
    );
    for (json, expected) in [
        (json!([]), "expected an object such as {\"event\", \"org_id\", \"data\"}, found a list"),
        (
            json!({ "event": "key_evnt.add", "data": {} }),
            "event: no management event has this name (did you mean \"key_event\"?)",
        ),
        (
            json!({ "event": "key_event", "data": {} }),
            "event: needs an action: key_event.add, key_event.update, key_event.delete",
        ),
        (
            json!({ "event": "key_event.ad", "data": {} }),
            "event: the action of key_event is one of add, update, delete (did you mean \"add\"?)",
        ),
        (
            json!({ "event": "key_event.add", "action": "delete", "data": {} }),
            "action: differs from the one in event: give it once",
        ),
        (json!({ "event": "password_reset_event.x", "data": {} }), "event: password_reset_event has no actions"),
        (json!({ "event": "api_event.add", "data": [] }), "data: expected an object, found a list"),
        (json!({ "event": "api_event.add" }), "data: missing"),
        (json!({ "event": 1, "data": {} }), "event: expected a string, found a number"),
        (json!({ "event": "api_event.add", "org_id": 7, "data": {} }), "org_id: expected a string, found a number"),
        (
            json!({ "Event": "api_event", "Message": {} }),
            "Event: api_event is the dashboard's: post {\"event\", \"org_id\", \"data\"}",
        ),
        (
            json!({ "event": "key_request_event.submitted", "data": { "portal_developer": { "inactive": 0 } } }),
            "data.portal_developer.inactive: expected true or false, found a number",
        ),
    ] {
        assert_eq!(errors(&json), [expected], "{json}");
    }
}

#[test]
fn times_must_be_rfc_3339() {
    for good in ["0001-01-01T00:00:00Z", "2024-04-24T15:26:04.312618088Z", "2020-02-24T16:19:12.175113-05:00"] {
        assert!(shapes::is_rfc3339(good), "{good}");
    }
    for bad in [
        "",
        "2024-04-22 16:38",
        "2024-04-22T16:38Z",
        "2024-02-30T00:00:00Z",
        "2024-04-22T16:38:54",
        "2024-04-22T16:38:54.Z",
    ] {
        assert!(!shapes::is_rfc3339(bad), "{bad}");
    }
}

#[test]
fn no_error_shows_a_value() {
    let json = json!({ "event": "UserRegistered", "data": { "ID": "hunter2", "CustomAttributes": "hunter2" } });
    assert!(errors(&json).iter().all(|error| !error.contains("hunter2")));
}

#[test]
fn the_table_of_fields_names_every_event() {
    let table = markdown();
    for kind in EventKind::of_management() {
        assert!(table.contains(&format!("| `{kind}")), "{kind}");
    }
}

#[test]
fn the_documentation_has_the_table_of_fields() {
    let file = include_str!("../../../../examples/management-events/FIELDS.md");
    assert!(file.ends_with(&format!("\n\n{}", markdown())), "run `make fields`");
}

#[test]
fn a_key_names_its_organisation_only_if_that_exists() {
    let of_tyk = OrgId::of_key("5e2743567c1f8800018bdf35f00");
    let is_known = |id: &str| id == "5e2743567c1f8800018bdf35";
    assert_eq!(of_tyk.or(Some("acme"), is_known), Some("5e2743567c1f8800018bdf35"));
    let of_no_one = OrgId::of_key("0123456789abcdef0123456789abcdef");
    assert_eq!(of_no_one.or(Some("acme"), is_known), Some("acme"));
}

#[test]
fn paths_are_compared_decoded() {
    let template = Template::parse("/a%20b/{id}").unwrap();
    assert!(template.matches("/a%20b/1") && template.matches("/a b/1") && !template.matches("/a%2520b/1"));
}
