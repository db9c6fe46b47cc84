//! Prints examples/management-events/FIELDS.md.
#![allow(clippy::print_stdout)]

fn main() {
    println!("# Fields of observed events\n");
    println!(
        "What each operation that a preset recognises brings into the payload of its event. What the application posts"
    );
    println!("itself, to the admin endpoint `events`, has every field. `make fields` writes this file.\n");
    print!("{}", tollbell_core::manage::fields::markdown());
}
