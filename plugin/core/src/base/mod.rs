//! Values and text functions that all other modules may use.

pub mod datetime;
pub mod ids;
pub mod json;
pub mod mailbox;
pub mod place;
pub mod record;
pub mod text;
pub mod troubles;
pub mod units;

pub use datetime::parse_minutes;
pub use ids::HandlerIndex;
pub use json::{object, type_name};
pub use mailbox::{Address, AddressError, Mailbox, Name, is_domain, one_line};
pub use place::{hint, item, member};
pub use text::{client_text, cut};
pub use troubles::Troubles;
pub use units::{Percent, UnixMillis, fingerprint, is_leased, set_right};
