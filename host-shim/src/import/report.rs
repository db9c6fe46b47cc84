//! The report: what became of every setting, file by file.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::source::{Note, Setting};

/// So many settings of a file that were carried over are still listed each.
const LISTED: usize = 20;

/// The part of the report that is about one file.
pub(super) fn section(name: &str, settings: &[Setting], verbose: bool) -> String {
    let of = |wanted: fn(&Note) -> bool| settings.iter().filter(|setting| wanted(&setting.note)).collect::<Vec<_>>();
    let carried = of(|note| *note == Note::Carried);
    let changed = of(|note| matches!(note, Note::Changed(_)));
    let missing = of(|note| matches!(note, Note::Missing(_)));
    let mut text = format!(
        "{name}: {} carried over, {} changed, {} without an equivalent\n",
        carried.len(),
        changed.len(),
        missing.len()
    );
    for setting in carried.iter().filter(|_| verbose || carried.len() <= LISTED) {
        let _ = writeln!(text, "  carried over   {name}: {}", setting.path);
    }
    for (kind, settings) in [("changed       ", changed), ("no equivalent ", missing)] {
        for line in lines(&settings, verbose) {
            let _ = writeln!(text, "  {kind} {name}{line}");
        }
    }
    text
}

/// What was told of a whole is one line, and so is what is the same in many entries.
fn lines(settings: &[&Setting], verbose: bool) -> Vec<String> {
    let line = |path: &str, text: &str, count: usize| {
        let times = if count > 1 { format!(" ({count} settings)") } else { String::new() };
        let path = if path.is_empty() { String::new() } else { format!(" {path}") };
        format!(":{path}{times}: {text}")
    };
    let text_of = |note: &Note| match note {
        Note::Carried => String::new(),
        Note::Changed(text) | Note::Missing(text) => text.clone(),
    };
    if verbose {
        return settings.iter().map(|setting| line(&setting.path, &text_of(&setting.note), 1)).collect();
    }
    let mut order = Vec::new();
    let mut groups: BTreeMap<(String, String), Vec<&Setting>> = BTreeMap::new();
    for setting in settings {
        let general = if setting.told_at == setting.path { general(&setting.path) } else { setting.told_at.clone() };
        let group = (general, text_of(&setting.note));
        groups.entry(group.clone()).or_default().push(setting);
        if !order.contains(&group) {
            order.push(group);
        }
    }
    order
        .into_iter()
        .flat_map(|group| {
            let settings = groups.remove(&group).unwrap_or_default();
            let (path, text) = group;
            let is_whole = settings.iter().any(|setting| setting.told_at != setting.path);
            match settings.as_slice() {
                [only] if !is_whole => vec![line(&only.path, &text, 1)],
                several => vec![line(&path, &text, several.len())],
            }
        })
        .collect()
}

/// `keys["sha256:…"].alias` is `keys[*].alias`.
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
    fn entries_are_taken_together() {
        assert_eq!(
            general(r#"keys["sha256:ab"].access_rights.orders[1].limit"#),
            "keys[*].access_rights.orders[*].limit"
        );
        let told = |path: &str, told_at: &str, text: &str| Setting {
            path: path.to_owned(),
            told_at: told_at.to_owned(),
            note: Note::Missing(text.to_owned()),
        };
        let settings =
            [told("a[0].x", "a[0].x", "t"), told("a[1].x", "a[1].x", "t"), told("b.c", "b", "u"), told("d", "d", "v")];
        let settings: Vec<&Setting> = settings.iter().collect();
        assert_eq!(
            lines(&settings, false),
            [": a[*].x (2 settings): t", ": b (1 settings): u".replace(" (1 settings)", "").as_str(), ": d: v"]
        );
        assert_eq!(lines(&settings, true).len(), 4);
    }
}
