//! Prints examples/management-events/FIELDS.md.
#![allow(clippy::print_stdout)]

const INTRODUCTION: &str = "\
# Fields of observed events

The fields that each operation of a preset brings into the payload of its event. An event that the application posts
itself, to the admin endpoint `events`, has every field. `make fields` writes this file.

- A portal's payload has only values of the documented types. Other values of an exchange are left out.
- `CreatedAt` is present if the portal gives it in the form of RFC 3339. Its admin API writes `YYYY-MM-DD HH:MM`, which
  does not show the exact moment; then the payload does not have it.
- `PUT /portal-api/users/{id}` is an event if its body has `Active`, optionally `ID`, and nothing else. A request with
  more fields saves the whole user, who may have been active before.
- `key_hash` has the form of one of Tyk's hashes: 8, 16, 32 or 64 hex digits. Any other name in a path is shown as its
  SHA-256 in `key_id`, whatever `hashed` says.
- Text and numbers whose names mean credentials, such as `shared_secret`, are left out. Headers are shown without
  values, and URLs without user and password. A posted payload is passed on unchanged.
- A whole number beyond 64 bits, observed or posted, is rounded.
";

fn main() {
    println!("{INTRODUCTION}");
    print!("{}", tollbell_core::fields::markdown());
}
