//! Prints a JSON Schema: the configuration's, or with the argument `envoy` that of a whole Envoy file.
#![allow(clippy::print_stdout)]

use tollbell_core::config::{envoy_schema, schema};

fn main() {
    let of_envoy = std::env::args().nth(1).as_deref() == Some("envoy");
    println!("{:#}", if of_envoy { envoy_schema() } else { schema() });
}
