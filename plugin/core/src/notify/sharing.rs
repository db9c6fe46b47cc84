//! Messages and tallies in the form for other members of a fleet, which have the same handlers but possibly other
//! secrets. The store gets neither the path of a target nor headers.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::base::UnixMillis;
use crate::delivery::{Delivery, Held, Stage, Tally};
use crate::notify::Notifications;
use crate::notify::admission::digest;
use crate::notify::content::{address, bare};
use crate::store::GivenBody;

/// A member of another version may write another form, which is not read here.
const VERSION: u8 = 2;

/// The first letter of a message's form in the store.
const MESSAGE: char = 'm';

#[derive(Serialize, Deserialize)]
struct Shared<T>(u8, T);

pub fn share(delivery: &Delivery) -> String {
    format!("{MESSAGE}{}", encode(&bare(delivery.clone())))
}

pub fn share_tally(tally: &Tally) -> String {
    encode(tally)
}

/// See [`Author::restore`](crate::delivery::Author::restore).
pub fn restore(
    notifications: &Notifications,
    id: &str,
    body: &GivenBody,
    now: UnixMillis,
) -> Result<Held, Option<UnixMillis>> {
    match body {
        GivenBody::Message(body) => {
            let delivery: Delivery = decode(body).ok_or(None)?;
            let since = Some(UnixMillis(delivery.since));
            let delivery = address(notifications, delivery, now).ok_or(since)?;
            // The next attempt starts at once, because nobody knows what the last one came to.
            let (due, decided) = (now.0, now.0);
            Ok(Held::Message(Delivery { id: id.to_owned(), terms: Some(Box::default()), due, decided, ..delivery }))
        }
        GivenBody::Digest(parts) => {
            let mut tallies = parts.iter().filter_map(|part| decode::<Tally>(part));
            let mut all = tallies.next().ok_or(None)?;
            tallies.for_each(|tally| digest::merge(&mut all, tally));
            if notifications.handlers.find(&all.handler).is_none() {
                return Err(Some(UnixMillis(all.last)));
            }
            let origin = notifications.placement.origin();
            Ok(Held::Tally(Tally { id: id.to_owned(), origin, stage: Stage::Merged, ..all }))
        }
    }
}

fn encode(shared: &impl Serialize) -> String {
    // Serializing plain data into a growing vector cannot fail.
    STANDARD.encode(postcard::to_allocvec(&Shared(VERSION, shared)).unwrap_or_default())
}

fn decode<T: DeserializeOwned>(text: &str) -> Option<T> {
    let Shared(version, shared) = postcard::from_bytes(&STANDARD.decode(text).ok()?).ok()?;
    (version == VERSION).then_some(shared)
}
