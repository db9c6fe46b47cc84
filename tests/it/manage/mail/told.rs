//! Who gets an email, and what it says.

use std::time::Duration;

use tollbell_tests::client::{Reply, load};
use tollbell_tests::envoy::{Envoy, Setup};

use super::*;
use crate::manage::stand_in::{self, Parts};
use crate::support::{SOON, shared};

const CODE: &str = "sendgrid";
const OPS: &str = "ops@acme.test";
const DEVELOPER: &str = "ada@acme.test";

/// An email by SendGrid.
#[derive(Clone, Debug)]
struct Email {
    to: String,
    subject: String,
    text: String,
}

fn emails(provider: &Provider) -> Result<Vec<Email>> {
    let email = |seen: &Seen| {
        let body: Value = serde_json::from_slice(&seen.body)?;
        Ok(Email {
            to: text(&body, "/personalizations/0/to/0/email")?.to_owned(),
            subject: text(&body, "/subject")?.to_owned(),
            text: text(&body, "/content/0/value")?.to_owned(),
        })
    };
    provider.stand_in.seen().iter().map(email).collect()
}

/// A dashboard and a portal behind Envoy, as far as they are asked here.
fn answer(seen: &Seen) -> Answer {
    let body: Value = serde_json::from_slice(&seen.body).unwrap_or_default();
    match (seen.method.as_str(), seen.target.as_str()) {
        ("POST", "/dev/auth/password/register") => Answer {
            status: 302,
            headers: vec![("location", "/auth/login".to_owned()), ("content-type", "text/html".to_owned())],
            body: Parts::whole(""),
        },
        ("POST", "/db/api/portal/requests") => Answer::json(200, json!({ "Status": "OK", "Message": "r1" })),
        ("PUT", "/db/api/portal/requests/approve/r1") => Answer::json(200, json!({ "RawKey": "raw-key" })),
        (_, "/dev/admin/users/7/activate") => Answer::json(200, json!({})),
        _ => {
            let user = json!({ "ID": 7, "Email": DEVELOPER, "First": "Ada", "Last": "L", "OrganisationID": 2,
                "Provider": "password", "Active": body["Active"], "CreatedAt": "2024-04-22 16:38" });
            Answer::json(200, user)
        }
    }
}

struct Portal {
    envoy: Envoy,
    provider: Provider,
    _upstream: StandIn,
    /// The emails that were looked at.
    known: usize,
}

impl Portal {
    async fn start() -> Result<Self> {
        let (upstream, provider) = (StandIn::start(answer).await?, Provider::start(CODE).await?);
        let mut config = config(CODE, provider.stand_in.port);
        let api = |id: &str, preset: &str| {
            json!({ "api_id": id, "org_id": "acme", "listen_path": format!("/{id}/"), "use_keyless": true,
                "observe": { "preset": preset } })
        };
        config["apis"] = json!([api("db", "tyk-dashboard"), api("dev", "tyk-portal")]);
        config["orgs"]["acme"]["event_options"] = json!({ "UserRegistered": { "email": OPS } });
        let envoy = Setup::config(&config, upstream.port, 1)?.start().await?;
        Ok(Portal { envoy, provider, _upstream: upstream, known: 0 })
    }

    async fn exchange(&self, operation: &str, kind: &str, body: &str) -> Result<()> {
        let (method, target) = operation.split_once(' ').context("a method and a target")?;
        let body = Parts::whole(body.to_owned());
        let answer = stand_in::send(self.envoy.port, method, target, &[("content-type", kind)], body).await?;
        ensure!([200, 302].contains(&answer.status), "{operation}: {}", answer.status);
        Ok(())
    }

    /// The emails that have come since the last call: so many.
    async fn emails(&mut self, count: usize) -> Result<Vec<Email>> {
        eventually(&format!("{count} emails after {}", self.known), async || {
            Ok(emails(&self.provider)?.len() >= self.known + count)
        })
        .await?;
        let mut new = emails(&self.provider)?.split_off(self.known);
        assert_eq!(new.len(), count, "{new:?}");
        self.known += count;
        new.sort_by(|a, b| a.to.cmp(&b.to));
        Ok(new)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_developer_hears_of_the_account() -> Result<()> {
    const READY: &str = "Your account is ready: you can sign in now.";
    const WAITING: &str = "We will write to you when it is active.";
    let _shared = shared().await;
    let mut portal = Portal::start().await?;
    let json = "application/json";
    let form = "application/x-www-form-urlencoded";
    let signed_up = "email=ada%40acme.test&first=Ada&last=L&password1=hunter2&password2=hunter2";
    for (operation, kind, body, ready, waiting) in [
        ("POST /dev/portal-api/users", json, r#"{"Active": true}"#, true, false),
        ("POST /dev/portal-api/users", json, r#"{"Active": false}"#, false, true),
        // A form does not tell whether the account can be used.
        ("POST /dev/auth/password/register", form, signed_up, false, false),
    ] {
        portal.exchange(operation, kind, body).await?;
        let [own, told] = &portal.emails(2).await?[..] else { bail!("not two") };
        assert_eq!([own.to.as_str(), told.to.as_str()], [DEVELOPER, OPS]);
        assert_eq!(own.subject, "Welcome to our developer portal");
        assert!(own.text.starts_with("Hello Ada,\n\n") && own.text.contains("Account: ada@acme.test"), "{own:?}");
        assert_eq!((own.text.contains(READY), own.text.contains(WAITING)), (ready, waiting), "{own:?}");
        assert_eq!(told.subject, "Developer portal: ada@acme.test has signed up");
        assert!(!told.text.contains("Hello") && !told.text.contains("Welcome"), "{told:?}");
    }

    portal.exchange("PUT /dev/portal-api/users/7", json, r#"{"Active": true}"#).await?;
    let [email] = &portal.emails(1).await?[..] else { bail!("not one") };
    assert_eq!((email.to.as_str(), email.subject.as_str()), (DEVELOPER, "Your account is active"));
    assert!(email.text.contains("You can sign in now"), "{email:?}");
    // Of this operation nobody can tell whose account it is.
    portal.exchange("PUT /dev/admin/users/7/activate", json, "").await?;
    portal.exchange("PUT /dev/portal-api/users/7", json, r#"{"Active": false}"#).await?;
    let [email] = &portal.emails(1).await?[..] else { bail!("not one") };
    assert_eq!((email.to.as_str(), email.subject.as_str()), (DEVELOPER, "Your account has been deactivated"));
    assert_eq!(portal.provider.complaints(), Vec::<String>::new());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_developer_hears_of_a_key_request() -> Result<()> {
    let _shared = shared().await;
    let mut portal = Portal::start().await?;
    let request = |approved: bool| {
        json!({ "by_user": "u", "org_id": "acme", "version": "v2", "approved": approved,
            "portal_developer": { "email": DEVELOPER }, "catalogue_entry": { "name": "Orders" } })
        .to_string()
    };
    portal.exchange("POST /db/api/portal/requests", "application/json", &request(false)).await?;
    let [email] = &portal.emails(1).await?[..] else { bail!("not one") };
    assert_eq!((email.to.as_str(), email.subject.as_str()), (DEVELOPER, "We received your request for an API key"));
    assert!(
        email.text.contains("We will write to you when a decision is made.") && email.text.contains("API: Orders\n")
    );
    // The approval carries the request's id, and nothing of who has made it.
    portal.exchange("PUT /db/api/portal/requests/approve/r1", "application/json", "").await?;
    portal.exchange("POST /db/api/portal/requests", "application/json", &request(true)).await?;
    let mut subjects: Vec<_> = portal.emails(2).await?.into_iter().map(|email| (email.to, email.subject)).collect();
    subjects.sort();
    let expected = ["We received your request for an API key", "Your request for an API key was approved"];
    assert_eq!(subjects, expected.map(|subject| (DEVELOPER.to_owned(), subject.to_owned())));
    assert_eq!(portal.provider.complaints(), Vec::<String>::new());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_wrong_keys_is_few_emails_and_one_that_counts_the_others() -> Result<()> {
    const MOST: usize = 5;
    const FLOOD: usize = 400;
    let provider = Provider::start(CODE).await?;
    let mut config = config(CODE, provider.stand_in.port);
    config["apis"][0]["event_handlers"] = json!({ "events": { "AuthFailure": [{
        "handler_name": "eh_email_handler", "handler_meta": { "email": OPS, "max_per_minute": MOST }
    }] } });
    let world = world(&config).await?;
    let replies: Vec<Reply> =
        load(world.envoy.port, 8, FLOOD, |n| (format!("/of/{n}"), format!("wrong-key-{n}"))).await?;
    assert!(replies.iter().all(|reply| reply.status == 403));
    eventually("the emails before the cap", async || Ok(counts(&world).await?[0] >= MOST as u64)).await?;
    assert_eq!(emails(&provider)?.len(), MOST);
    // A minute after the first that was held back.
    tokio::time::sleep(Duration::from_secs(30)).await;
    eventually("the digest", async || Ok(counts(&world).await?[0] > MOST as u64)).await?;
    assert_eq!(counts(&world).await?[..2], [MOST as u64 + 1, 0]);
    let emails = emails(&provider)?;
    assert_eq!(provider.complaints(), Vec::<String>::new());
    assert!(emails.iter().all(|email| email.to == OPS && !email.text.contains("wrong-key")), "{emails:?}");
    let (digest, single) = emails.split_last().context("an email")?;
    assert!(single.iter().all(|email| email.subject == "AuthFailure: Auth Failure (orders)"), "{single:?}");
    let others = FLOOD - MOST;
    assert_eq!(
        (single.len(), &digest.subject),
        (MOST, &format!("{others} events: AuthFailure: Auth Failure (orders)"))
    );
    assert!(
        digest.text.contains(&format!("This email reports {others} events. The first happened at 20")),
        "{digest:?}"
    );
    eventually("nothing is held", async || Ok(world.envoy.metric("tollbell_held{}").await? == 0)).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_developer_hears_of_the_own_quota_and_not_of_the_organisations() -> Result<()> {
    let provider = Provider::start(CODE).await?;
    let mut config = config(CODE, provider.stand_in.port);
    config["keys"] = json!({ "k": { "org_id": "acme", "alias": "billing", "quota_max": 4, "quota_renewal_rate": 3600,
        "monitor": { "trigger_limits": [50] }, "meta_data": { "email": DEVELOPER } } });
    config["orgs"] =
        json!({ "acme": { "quota_max": 4, "quota_renewal_rate": 3600, "monitor": { "trigger_limits": [75] } } });
    config["enforce_org_quotas"] = json!(true);
    config["monitor"] = json!({ "enable_trigger_monitors": true, "monitor_user_keys": true, "monitor_org_keys": true,
        "configuration": { "target_path": "http://RECEIVER/monitor" } });
    let world = world(&config).await?;
    for _ in 0..4 {
        assert_eq!(get_with_key(world.envoy.port, "/", "k").await?.status, 200);
    }
    let messages = world.receiver.expect(2, SOON).await?;
    let mut told: Vec<Value> = messages.iter().map(|message| message.json()).collect::<Result<_>>()?;
    told.sort_by_key(|message| message["trigger_limit"].to_string());
    assert_eq!([&told[0]["key"], &told[1]["key"]], ["k", ""], "both were crossed");
    eventually("an email", async || Ok(counts(&world).await?[0] == 3)).await?;
    assert_eq!(counts(&world).await?[1], 0);
    let [email] = &emails(&provider)?[..] else { bail!("not one") };
    assert_eq!((email.to.as_str(), email.subject.as_str()), (DEVELOPER, "50% of the quota of API key billing is used"));
    eventually("nothing is held", async || Ok(world.envoy.metric("tollbell_held{}").await? == 0)).await?;
    assert_eq!(provider.complaints(), Vec::<String>::new());
    Ok(())
}
