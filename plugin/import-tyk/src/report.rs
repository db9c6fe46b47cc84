//! The report: the result for every setting, file by file.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::source::{IDLE, Note, Setting};

/// Up to this number, the settings of a file that were carried over are listed one by one.
const LISTED: usize = 20;

/// The part of the report with the errors.
pub(super) fn left_out(errors: &[String]) -> String {
    if errors.is_empty() {
        return String::new();
    }
    let lines: String = errors.iter().map(|error| format!("  {error}\n")).collect();
    format!("left out because of errors:\n{lines}\n")
}

/// The part of the report about one file.
pub(super) fn section(name: &str, settings: &[Setting], verbose: bool) -> String {
    let of =
        |wanted: &dyn Fn(&Note) -> bool| settings.iter().filter(|setting| wanted(&setting.note)).collect::<Vec<_>>();
    let is_missing = |note: &Note| matches!(note, Note::Missing(_));
    let is_idle = |note: &Note| is_missing(note) && text_of(note).starts_with(IDLE);
    let carried = of(&|note| *note == Note::Carried);
    let changed = of(&|note| matches!(note, Note::Changed(_)));
    // Settings that need action come before those that do not.
    let missing = of(&|note| is_missing(note) && !is_idle(note));
    let idle = of(&is_idle);
    let opened = of(&|note| matches!(note, Note::Opened(_)));
    let mut text = format!(
        "{name}: {} carried over, {} changed, {} without an equivalent, {} not needed\n",
        carried.len(),
        changed.len(),
        missing.len(),
        idle.len()
    );
    // Requests that Tyk refuses and tollbell passes must always be visible.
    if !opened.is_empty() {
        text.push_str("  no longer refused: Tyk refuses such requests, and tollbell passes them\n");
        for line in lines(&opened, verbose) {
            let _ = writeln!(text, "    {name}: {line}");
        }
    }
    for setting in carried.iter().filter(|_| verbose || carried.len() <= LISTED) {
        let _ = writeln!(text, "  carried over   {name}: {}", setting.path);
    }
    for (kind, settings) in [("changed       ", changed), ("no equivalent ", missing), ("not needed    ", idle)] {
        for line in lines(&settings, verbose) {
            let _ = writeln!(text, "  {kind} {name}: {line}");
        }
    }
    text
}

fn text_of(note: &Note) -> &str {
    match note {
        Note::Carried => "",
        Note::Changed(text) | Note::Missing(text) | Note::Opened(text) => text,
    }
}

/// The text about a setting.
fn shown(note: &Note) -> &str {
    let text = text_of(note);
    text.strip_prefix(IDLE).map_or(text, |why| why.trim_start_matches(": "))
}

/// A text about a whole is one line with its settings. So is a text that is the same for many entries.
fn lines(settings: &[&Setting], verbose: bool) -> Vec<String> {
    if verbose {
        return settings.iter().map(|setting| format!("{}: {}", setting.path, shown(&setting.note))).collect();
    }
    let mut order = Vec::new();
    let mut groups: BTreeMap<(String, &str), Vec<&Setting>> = BTreeMap::new();
    for setting in settings {
        let general = if setting.told_at == setting.path { general(&setting.path) } else { setting.told_at.clone() };
        let group = (general, shown(&setting.note));
        if !groups.contains_key(&group) {
            order.push(group.clone());
        }
        groups.entry(group).or_default().push(setting);
    }
    let mut lines = Vec::new();
    for group in order {
        let settings = groups.remove(&group).unwrap_or_default();
        let (path, text) = group;
        let parts: Vec<&str> = settings.iter().filter_map(|setting| part(&setting.path, &path)).collect();
        lines.push(match settings.as_slice() {
            _ if !parts.is_empty() => {
                let shown = parts.iter().take(PARTS).copied().collect::<Vec<_>>().join(", ");
                let more = parts.len().saturating_sub(PARTS);
                let more = if more > 0 { format!(", and {more} more") } else { String::new() };
                let separator = if path.is_empty() { "" } else { " " };
                format!("{path}{separator}({shown}{more}): {text}")
            }
            [only] => format!("{}: {text}", only.path),
            several => format!("{path} ({} settings): {text}", several.len()),
        });
    }
    lines
}

/// The maximum number of settings of a whole that are named.
const PARTS: usize = 12;

/// The rest of the path below a whole.
fn part<'p>(path: &'p str, whole: &str) -> Option<&'p str> {
    let rest = path.strip_prefix(whole)?;
    let rest = rest.strip_prefix('.').unwrap_or(rest);
    (!rest.is_empty()).then_some(rest)
}

/// Converts `keys["sha256:…"].alias` to `keys[*].alias`.
fn general(path: &str) -> String {
    let mut general = String::new();
    for (index, part) in path.split('[').enumerate() {
        match part.split_once(']').filter(|_| index > 0) {
            Some((_, rest)) => general.push_str(&format!("[*]{rest}")),
            None => general.push_str(part),
        }
    }
    general
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_combined() {
        assert_eq!(
            general(r#"keys["sha256:ab"].access_rights.orders[1].limit"#),
            "keys[*].access_rights.orders[*].limit"
        );
        let told = |path: &str, told_at: &str, text: &str| Setting {
            path: path.to_owned(),
            told_at: told_at.to_owned(),
            note: Note::Missing(text.to_owned()),
        };
        let settings = [
            ("a[0].x", "a[0].x", "t"),
            ("a[1].x", "a[1].x", "t"),
            ("b.c", "b", "u"),
            ("b.d[0]", "b", "u"),
            ("d", "d", "v"),
        ];
        let settings = settings.map(|(path, told_at, text)| told(path, told_at, text));
        let settings: Vec<&Setting> = settings.iter().collect();
        assert_eq!(lines(&settings, false), ["a[*].x (2 settings): t", "b (c, d[0]): u", "d: v"]);
        assert_eq!(lines(&settings, true).len(), 5);
    }
}
