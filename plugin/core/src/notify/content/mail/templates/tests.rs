use serde_json::json;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::base::UnixMillis;

const HOSTILE: &str = "<script>alert(\"1\")</script>\r\nBcc: x@y.test & 'q'";

fn facts<'f>(kind: &'f str, action: &'f str, data: &'f Value, message: &'f Value) -> EmailFacts<'f> {
    EmailFacts {
        kind,
        action,
        time_stamp: "2026-10-21T08:15:30.250Z".into(),
        id: "0a1b",
        org_id: "acme",
        fingerprint: "",
        meta: None,
        data,
        message,
    }
}

fn hostile_event() -> Event {
    let mut event = Event::sample(EventKind::AuthFailure);
    event.meta.message = HOSTILE.into();
    event.meta.path = HOSTILE.into();
    event.meta.alias = HOSTILE.into();
    event.meta.key = "RAWKEY".into();
    event.fingerprint = "sha256:01".into();
    event
}

fn check_html(html: &str) {
    assert!(!html.contains("<script") && !html.contains("alert(\""), "{html}");
    assert_eq!(html.matches('<').count(), html.matches('>').count(), "{html}");
    assert!(html.starts_with("<!DOCTYPE html>") && html.ends_with("</html>\n"), "{html}");
}

#[test]
fn every_event_has_an_email() {
    let emails = MailTemplates::builtin();
    let nothing = Value::Null;
    let gateway = EventKind::of_gateway().count() + EventKind::NEVER_FIRED.len();
    assert_eq!(names().count(), gateway + EventKind::of_management().count() + 2 + TO_DEVELOPERS.len());
    for name in names() {
        let draft = emails.draft(name, &facts(name, "add", &nothing, &nothing)).unwrap();
        assert!(!draft.subject.as_str().contains("(no subject)"), "{name}");
        assert!(draft.text.as_str().len() > 10, "{name}: {:?}", draft.text);
        check_html(draft.html.unwrap().as_str());
    }
    assert!(emails.draft("OrganizationRegistered", &facts("OrganizationRegistered", "", &nothing, &nothing)).is_ok());
    assert_eq!(
        emails.draft("nope", &facts("nope", "", &nothing, &nothing)),
        Err(RenderError::Unknown("nope".to_owned()))
    );
}

#[test]
fn html_escapes_what_text_does_not() {
    let emails = MailTemplates::builtin();
    let event = hostile_event();
    let draft = emails.draft("AuthFailure", &EmailFacts::of_event(&event)).unwrap();
    assert_eq!(
        draft.subject.as_str(),
        "AuthFailure: <script>alert(\"1\")</script> Bcc: x@y.test & 'q' (sample)",
        "one line, however hostile"
    );
    assert!(draft.text.as_str().contains(HOSTILE) && !draft.text.as_str().contains("&lt;"));
    let html = draft.html.unwrap();
    check_html(html.as_str());
    let escaped = "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&#13;&#10;Bcc: x@y.test &amp; &#39;q&#39;";
    assert!(html.as_str().contains(&format!("<td>{escaped}</td>")), "{}", html.as_str());
}

#[test]
fn hostile_names_stay_names_in_every_email() {
    let emails = MailTemplates::builtin();
    let value = json!({
        "api_definition": { "name": HOSTILE, "api_id": HOSTILE }, "data": { "alias": HOSTILE }, "email": HOSTILE,
        "catalogue_entry": { "name": HOSTILE }, "portal_developer": { "email": HOSTILE }, "id": HOSTILE,
        "key_id": "RAWKEY", "RawKey": "RAWKEY", "First": HOSTILE, "Email": HOSTILE, "Name": HOSTILE, "Status": HOSTILE
    });
    let event = hostile_event();
    for name in names() {
        let facts =
            EmailFacts { data: &value, message: &value, action: HOSTILE, kind: name, ..EmailFacts::of_event(&event) };
        let draft = emails.draft(name, &facts).unwrap();
        assert!(!draft.subject.as_str().contains(['\r', '\n']));
        check_html(draft.html.as_ref().unwrap().as_str());
        assert!(!format!("{draft:?}").contains("RAWKEY"), "{name} shows a key");
    }
}

#[test]
fn a_threshold_email_suits_a_developer_and_an_organisation() {
    let emails = MailTemplates::builtin();
    let mut event = Event::sample(EventKind::TriggerExceeded);
    event.at = UnixMillis(1_792_570_530_250);
    event.meta = Meta::of_quota("acme", "k1", "80".to_owned(), 8, 10);
    event.meta.alias = "billing".into();
    event.fingerprint = "sha256:01".into();
    let draft = emails.draft("TriggerExceeded", &EmailFacts::of_event(&event)).unwrap();
    assert_eq!(draft.subject.as_str(), "80% of the quota of API key billing is used");
    assert_eq!(
        draft.text.as_str(),
        "Hello,\n\nThe use of the quota of API key billing has reached 80%. When the quota is used up, the \
         gateway refuses requests until it renews.\n\nThreshold in percent: 80\nUse in percent: 80\nOrganisation: acme\n\
         Key: sha256:01\nTime: 2026-10-21T08:15:30.250Z\n"
    );
    (event.fingerprint, event.meta.key) = (String::new(), String::new());
    let draft = emails.draft("TriggerExceeded", &EmailFacts::of_event(&event)).unwrap();
    assert_eq!(draft.subject.as_str(), "80% of the quota of organisation acme is used");
}

#[test]
fn emails_about_dashboard_events_name_the_action() {
    let emails = MailTemplates::builtin();
    let data = json!({ "api_definition": { "name": "Orders", "api_id": "orders" } });
    let subject = |name: &str, action: &str, data: &Value| {
        emails.draft(name, &facts(name, action, data, &Value::Null)).unwrap().subject.as_str().to_owned()
    };
    assert_eq!(subject("api_event", "add", &data), "API Orders was created");
    assert_eq!(subject("api_event", "update", &data), "API Orders was changed");
    assert_eq!(subject("api_event", "delete", &data), "API Orders was removed");
    assert_eq!(subject("key_event", "delete", &data), "An API key was removed");
    assert_eq!(subject("hashed_key_event", "add", &data), "An API key was created");
    assert_eq!(subject("key_request_event", "submitted", &data), "A key request was submitted");
    // The sample in the portal's documentation.
    let request = json!({
        "id": "5e543dd0f56e1a4affdd7acd", "org_id": "5e2743567c1f8800018bdf35", "for_plan": "5e2744897c1f8800018bdf3b",
        "approved": false, "portal_developer": { "email": "dev@acme.test", "inactive": false },
        "catalogue_entry": { "name": "frontend APIs" }
    });
    for (action, expected) in [
        ("submitted", "We received your request for an API key"),
        ("approved", "Your request for an API key was approved"),
        ("updated", "Your request for an API key was changed"),
        ("deleted", "Your request for an API key was removed"),
    ] {
        assert_eq!(subject(USER_KEY_REQUEST, action, &request), expected);
    }
    let facts = facts("key_request_event", "submitted", &request, &Value::Null);
    let text = emails.draft("key_request_event", &facts).unwrap().text;
    assert_eq!(
        text.as_str(),
        "A developer's request for an API key was submitted.\n\nDeveloper: dev@acme.test\nAPI: frontend APIs\n\
         Request: 5e543dd0f56e1a4affdd7acd\nPlan: 5e2744897c1f8800018bdf3b\nOrganisation: acme\n\
         Time: 2026-10-21T08:15:30.250Z\n"
    );
}

#[test]
fn a_digest_says_how_many_events_it_reports() {
    let emails = MailTemplates::builtin();
    let mut event = hostile_event();
    event.meta.suppressed = 4880;
    event.meta.first_seen = "2026-10-21T08:15:30Z".into();
    event.meta.last_seen = "2026-10-21T08:16:29Z".into();
    let says = "This email reports 4880 events. The first happened at 2026-10-21T08:15:30Z, the last at \
                2026-10-21T08:16:29Z.";
    for name in names() {
        let draft = emails.draft(name, &EmailFacts { kind: name, ..EmailFacts::of_event(&event) }).unwrap();
        assert!(draft.subject.as_str().starts_with("4880 events: "), "{name}: {:?}", draft.subject);
        assert!(draft.text.as_str().contains(says), "{name}: {:?}", draft.text);
        let html = draft.html.unwrap();
        check_html(html.as_str());
        assert!(html.as_str().contains(says), "{name}: {html:?}");
        event.meta.suppressed = 0;
        let draft = emails.draft(name, &EmailFacts { kind: name, ..EmailFacts::of_event(&event) }).unwrap();
        assert!(!format!("{draft:?}").contains("This email reports"), "{name}: {draft:?}");
        event.meta.suppressed = 4880;
    }
}

#[test]
fn the_operator_of_the_portal_is_notified() {
    let emails = MailTemplates::builtin();
    let draft =
        |name: &'static str, message: &Value| emails.draft(name, &facts(name, "", &Value::Null, message)).unwrap();
    let user = json!({ "ID": 29, "Email": "dev@acme.test", "First": "Ada", "Last": "L", "Status": "active" });
    let registered = draft("UserRegistered", &user);
    assert_eq!(registered.subject.as_str(), "Developer portal: dev@acme.test has signed up");
    assert!(registered.text.as_str().contains("First name: Ada\n") && !registered.text.as_str().contains("Welcome"));
    let request = json!({ "ID": 6, "AppID": 7, "Status": "pending", "ProductIDs": [1, 2], "PlanID": 2 });
    let created = draft("AccessRequestCreated", &request);
    assert_eq!(created.subject.as_str(), "Developer portal: access was requested");
    assert!(created.text.as_str().contains("Products: [1, 2]\n"), "{:?}", created.text);
    let subject = |name| draft(name, &request).subject.as_str().to_owned();
    assert_eq!(subject("AccessRequestApproved"), "Developer portal: a request for access was approved");
    assert_eq!(subject("AccessRequestRejected"), "Developer portal: a request for access was declined");
    let other = draft("OrganisationRegistered", &json!({ "ID": 8, "Name": "Acme" }));
    assert_eq!(other.subject.as_str(), "Developer portal: OrganisationRegistered Acme");
}

#[test]
fn an_email_about_an_account_says_only_what_is_known() {
    const READY: &str = "Your account is ready";
    const WAITING: &str = "We will write to you when it is active.";
    let emails = MailTemplates::builtin();
    let draft = |name, message: Value| emails.draft(name, &facts(name, "", &message, &message)).unwrap();
    for (status, ready, waiting) in
        [(json!("active"), true, false), (json!("inactive"), false, true), (Value::Null, false, false)]
    {
        let welcome =
            draft(USER_SIGN_UP, json!({ "Email": "dev@acme.test", "First": "Ada", "Status": status.clone() }));
        assert_eq!(welcome.subject.as_str(), "Welcome to our developer portal");
        let html = welcome.html.unwrap();
        for text in [welcome.text.as_str(), html.as_str()] {
            assert!(text.contains("Hello Ada,") && text.contains("dev@acme.test"), "{text}");
            assert_eq!((text.contains(READY), text.contains(WAITING)), (ready, waiting), "{status}: {text}");
        }
    }
    let active = draft(USER_ACTIVATED, json!({ "Email": "dev@acme.test", "Status": "active" }));
    assert_eq!(active.subject.as_str(), "Your account is active");
    assert!(active.text.as_str().starts_with("Hello,\n\nYour account with our developer portal is active"));
    let inactive = draft(USER_DEACTIVATED, json!({ "Email": "dev@acme.test", "Status": "inactive" }));
    assert_eq!(inactive.subject.as_str(), "Your account has been deactivated");
}

#[test]
fn emails_are_replaced_by_name_and_part() {
    let mut emails = MailTemplates::builtin();
    let data = json!({ "email": HOSTILE });
    let facts = facts("key_event", "add", &data, &Value::Null);
    assert_eq!(emails.replace("key_event", &[(Part::Subject, "{{.Type}} {{.data.email}}")]), []);
    let draft = emails.draft("key_event", &facts).unwrap();
    assert!(draft.subject.as_str().starts_with("key_event <script>") && !draft.subject.as_str().contains('\n'));
    assert!(draft.text.as_str().contains("was created") && draft.html.is_some());

    // Go's templates, and HTML that belongs to the text.
    let text = "{{if eq .action \"add\"}}new{{else}}old{{end}}: {{.data.email}}";
    assert_eq!(emails.replace("key_event", &[(Part::Text, text)]), []);
    let draft = emails.draft("key_event", &facts).unwrap();
    assert_eq!(draft.text.as_str(), format!("new: {HOSTILE}"));
    assert_eq!(draft.html, None);
    assert_eq!(emails.replace("key_event", &[(Part::Text, text), (Part::Html, "<b>{{data.email}}</b>")]), []);
    let html = emails.draft("key_event", &facts).unwrap().html.unwrap();
    assert!(html.as_str().starts_with("<b>&lt;script&gt;"));

    // An email that was shared gets its own text, and the others stay.
    assert_eq!(emails.replace("OrganizationRegistered", &[(Part::Subject, "Own")]), []);
    let subject = |name| emails.draft(name, &facts).unwrap().subject.as_str().to_owned();
    assert_eq!(subject("OrganisationRegistered"), "Own");
    assert_eq!(subject("OrganisationRequestCreated"), "Developer portal: key_event");

    let errors = emails.replace("api_event", &[(Part::Text, "{{#if}}"), (Part::Html, "\n{{/if}}")]);
    assert_eq!(errors.iter().map(|(part, _)| *part).collect::<Vec<_>>(), [Part::Text, Part::Html]);
    assert_eq!(emails.replace("nope", &[(Part::Text, "x")]), []);
}
