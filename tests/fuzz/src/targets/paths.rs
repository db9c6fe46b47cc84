//! Paths: every reading, and that what one spelling protects, its other percent-encoded spellings do too.

use tollbell_core::fuzzing;

use super::input::parts;

const PROTECTED: [&str; 3] = ["/orders/", "/caf%C3%A9", "/"];

/// Takes any bytes.
pub fn run(bytes: &[u8]) {
    let [target, mask, listen_path] = parts(bytes);
    let end = target.iter().position(|byte| *byte == b'?').unwrap_or(target.len());
    let path = &target[..end];
    let spelled = respelled(path, mask);
    fuzzing::readings(path);
    fuzzing::readings(&spelled);
    let own = String::from_utf8_lossy(listen_path);
    for protected in PROTECTED.into_iter().chain([&*own]) {
        if fuzzing::is_below(protected, path) == Some(true) && path.starts_with(b"/") {
            let [path, spelled] = [path, &spelled].map(String::from_utf8_lossy);
            assert_eq!(
                fuzzing::is_below(protected, spelled.as_bytes()),
                Some(true),
                "{path:?} is below {protected:?}, {spelled:?} is not"
            );
        }
    }
}

/// The same path, with some of its bytes percent-encoded: a bit of the mask each, in turn with both cases of digits.
fn respelled(path: &[u8], mask: &[u8]) -> Vec<u8> {
    let mut spelled = Vec::new();
    for (at, byte) in path.iter().enumerate() {
        let bits = mask.get(at / 4 % mask.len().max(1)).copied().unwrap_or(0xff) >> (at % 4 * 2);
        match bits & 3 {
            1 if at > 0 => spelled.extend(format!("%{byte:02x}").bytes()),
            2 if at > 0 => spelled.extend(format!("%{byte:02X}").bytes()),
            _ => spelled.push(*byte),
        }
    }
    spelled
}
