//! Prints the configuration's JSON Schema.
#![allow(clippy::print_stdout)]

fn main() {
    println!("{:#}", tollbell_core::config::schema());
}
