//! Prints examples/management-events/FIELDS.md.
#![allow(clippy::print_stdout)]

const INTRODUCTION: &str = "\
# Fields of observed events

What each operation that a preset recognises brings into the payload of its event. What the application posts
itself, to the admin endpoint `events`, has every field. `make fields` writes this file.

- A portal's payload has values of the documented types only: what an exchange has otherwise is left out.
- `CreatedAt` is there where the portal tells it as RFC 3339 does. Its admin API writes `YYYY-MM-DD HH:MM`, of
  which nobody can tell the moment: then the payload has none.
- `PUT /portal-api/users/{id}` is an event where its body has `Active`, perhaps `ID`, and nothing else. One with
  more saves the whole user, who may have been active before.
- `key_hash` has the form of a hash of Tyk's: 8, 16, 32 or 64 hex digits. What a path names otherwise is shown as
  its SHA-256 under `key_id`, whatever `hashed` says.
- Strings and numbers that are named as credentials are, such as `shared_secret`, are left out. Of headers the
  names are shown, and no values; of URLs no user and password. What is posted is passed on as it is.
- A whole number beyond 64 bits, observed or posted, is rounded.
";

fn main() {
    println!("{INTRODUCTION}");
    print!("{}", tollbell_core::fields::markdown());
}
