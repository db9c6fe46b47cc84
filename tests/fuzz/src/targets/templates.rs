//! Templates in both languages: added, and rendered with events of all kinds.

use tollbell_core::fuzzing;

use super::input::parts;

const ENDINGS: [&str; 4] = [".json", ".html", ".txt", ".yaml"];

/// Takes any bytes.
pub fn run(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else { return };
    let [source, text] = parts(rest).map(String::from_utf8_lossy);
    fuzzing::render(ENDINGS[usize::from(*first) % ENDINGS.len()], &source, &text);
}
