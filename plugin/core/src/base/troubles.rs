//! Logs a failure that repeats at every tick once, and again only after a success.

use std::fmt::Display;

/// The operations that fail at present.
#[derive(Debug, Default)]
pub struct Troubles(Vec<&'static str>);

impl Troubles {
    /// Logs that `what` fails, unless it already failed at the last attempt.
    pub fn fails(&mut self, what: &'static str, error: &dyn Display) {
        if !self.0.contains(&what) {
            self.0.push(what);
            log::error!("{what}: {error}");
        }
    }

    /// Records that `what` works.
    pub fn works(&mut self, what: &'static str) {
        if !self.0.is_empty() {
            self.0.retain(|failing| *failing != what);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn a_failure_is_logged_again_after_a_success() {
        let mut troubles = Troubles::default();
        troubles.fails("a", &"x");
        troubles.fails("b", &"x");
        troubles.fails("a", &"y");
        assert_eq!(troubles.0, ["a", "b"]);
        troubles.works("a");
        assert_eq!(troubles.0, ["b"]);
        troubles.fails("a", &"x");
        assert_eq!(troubles.0, ["b", "a"]);
    }
}
