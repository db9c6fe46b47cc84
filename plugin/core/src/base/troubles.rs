//! What fails at every tick is told once, and again when it has worked in between.

use std::fmt::Display;

/// What fails at present.
#[derive(Debug, Default)]
pub struct Troubles(Vec<&'static str>);

impl Troubles {
    /// Logs that `what` fails, unless it failed before.
    pub fn fails(&mut self, what: &'static str, error: &dyn Display) {
        if !self.0.contains(&what) {
            self.0.push(what);
            log::error!("{what}: {error}");
        }
    }

    /// `what` works.
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
    fn a_trouble_is_new_when_it_has_been_over() {
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
