//! Finds the line of the configuration that a log line of a module refers to.
//!
//! A module must not log a secret, but the name of a member can be a secret, such as an API key. A path can therefore
//! name a member by its SHA-256: `keys["sha256:<64 hex digits>"]`.

use sha2::{Digest, Sha256};

use super::node::{Node, Value};
use super::report::member;
use super::{json, yaml};

/// The deepest part of a path in a log line that exists in the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// The part of the path that exists: `apis[0].auth` for `apis[0].auth.nothing`.
    pub path: String,
    /// The line of its key, or of the value if it has no key.
    pub line: usize,
}

/// Finds the deepest node that a path in the text refers to. Paths look like `apis[0].auth.param_name`,
/// `keys["sha256:…"].alias` or `/apis/0/auth`. If the configuration is a string with JSON or YAML in it, the lines are
/// still those of the file.
pub(super) fn locate(root: &Node, text: &str) -> Option<Located> {
    let embedded = embedded(root);
    let tree = embedded.as_ref().unwrap_or(root);
    let mut best: Option<(Rank, Located)> = None;
    for candidate in candidates(text) {
        let (depth, located) = resolve(tree, &candidate.steps);
        let Some(located) = located.filter(|_| candidate.is_surely_path || depth > 1) else { continue };
        let rank = (depth, candidate.is_surely_path);
        if best.as_ref().is_none_or(|(other, _)| rank > *other) {
            best = Some((rank, located));
        }
    }
    // A text without a path can contain a line number of the whole configuration.
    best.map(|(_, located)| located).or_else(|| Some(Located { path: String::new(), line: line_of(root, text)? }))
}

/// If the configuration is a string, finds the line that a parser named in it, as in "… at line 3 column 5".
fn line_of(node: &Node, text: &str) -> Option<usize> {
    let Value::String(lines) = &node.value else { return None };
    let mut words = text.split(|c: char| !c.is_alphanumeric()).skip_while(|word| *word != "line").skip(1);
    let line: usize = words.next()?.parse().ok()?;
    if !(1..=lines.lines().count()).contains(&line) {
        return None;
    }
    Some(if node.is_literal { node.line.saturating_add(line) } else { node.line })
}

/// Returns the node at a path. The whole path must exist.
pub(super) fn find<'n>(root: &'n Node, path: &str) -> Option<&'n Node> {
    let (steps, rest) = if path.starts_with('/') { pointer(path) } else { dotted(path) };
    if !rest.is_empty() {
        return None;
    }
    steps.iter().try_fold(root, |node, step| child(node, step).map(|(_, _, node)| node))
}

/// Compares first the number of steps that exist, then whether the text is certainly a path.
type Rank = (usize, bool);

struct Candidate {
    steps: Vec<Step>,
    /// The text has several steps, or is before a colon or in quotes. Any other single word can be just a word.
    is_surely_path: bool,
}

#[derive(Clone)]
struct Step {
    name: String,
    /// A step in brackets or of a JSON pointer, which can be an index.
    index: Option<usize>,
}

/// Parses the text in a string to a tree with the lines of the file.
fn embedded(node: &Node) -> Option<Node> {
    let Value::String(text) = &node.value else { return None };
    let parsed = if text.trim_start().starts_with(['{', '[']) { json::parse(text) } else { yaml::parse(text) };
    let mut root = parsed.or_else(|_| yaml::parse(text)).ok()?.root;
    move_lines(&mut root, node);
    Some(root)
}

fn move_lines(part: &mut Node, scalar: &Node) {
    let moved = |line: usize| if scalar.is_literal { scalar.line.saturating_add(line) } else { scalar.line };
    part.line = moved(part.line);
    match &mut part.value {
        Value::List(items) => items.iter_mut().for_each(|item| move_lines(item, scalar)),
        Value::Map(entries) => {
            for (key, node) in entries {
                key.line = moved(key.line);
                move_lines(node, scalar);
            }
        }
        _ => {}
    }
}

/// Follows the steps as far as they exist. Returns their number and the node.
fn resolve(root: &Node, steps: &[Step]) -> (usize, Option<Located>) {
    let (mut depth, mut node, mut located) = (0_usize, root, None::<Located>);
    for step in steps {
        let Some((path, line, next)) = child(node, step) else { break };
        let before = located.map(|located| located.path).unwrap_or_default();
        let path = if path.starts_with('[') { format!("{before}{path}") } else { member(&before, &path) };
        (depth, node, located) = (depth.saturating_add(1), next, Some(Located { path, line }));
    }
    (depth, located)
}

fn child<'n>(node: &'n Node, step: &Step) -> Option<(String, usize, &'n Node)> {
    match &node.value {
        Value::List(_) => {
            let index = step.index?;
            node.item(index).map(|item| (format!("[{index}]"), item.line, item))
        }
        Value::Map(entries) => {
            let found = node.entry(&step.name).or_else(|| {
                let hash = step.name.strip_prefix("sha256:")?;
                entries.iter().find(|(key, _)| is_hash_of(hash, &key.name)).map(|(key, node)| (key, node))
            });
            if let Some((key, node)) = found.filter(|(key, _)| key.name != step.name) {
                // The module does not log the name itself.
                return Some((step.name.clone(), key.line, node));
            }
            let found = found.or_else(|| {
                // A name can be cut off, like the fingerprint of a key.
                let begun = step.name.trim_end_matches('…');
                let mut fitting = entries.iter().filter(|(key, _)| begun.len() >= 8 && key.name.starts_with(begun));
                let first = fitting.next();
                first.filter(|_| fitting.next().is_none()).map(|(key, node)| (key, node))
            });
            found.map(|(key, node)| (key.name.clone(), key.line, node))
        }
        _ => None,
    }
}

fn is_hash_of(hash: &str, name: &str) -> bool {
    let digest = Sha256::digest(name);
    hash.len() == 64
        && digest.iter().zip(hash.as_bytes().chunks(2)).all(|(byte, digits)| {
            let digits = std::str::from_utf8(digits).ok();
            digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) == Some(*byte)
        })
}

/// Returns everything in the text that looks like a path.
fn candidates(text: &str) -> Vec<Candidate> {
    let mut found = Vec::new();
    let mut rest = text;
    let mut before = ' ';
    while let Some(first) = rest.chars().next() {
        let starts_pointer = first == '/' && (before.is_whitespace() || matches!(before, '"' | '\'' | '`' | '(' | '#'));
        let starts_path = is_word(first) || first == '[';
        let (steps, after) = match (starts_pointer, starts_path) {
            (true, _) => pointer(rest),
            (_, true) => dotted(rest),
            _ => (Vec::new(), rest),
        };
        if !steps.is_empty() {
            let is_quoted = matches!(before, '"' | '\'' | '`') && after.starts_with(before);
            let is_surely_path = steps.len() > 1 || starts_pointer || is_quoted || after.starts_with(':');
            let ends = (0..steps.len()).filter_map(|start| steps.get(start..));
            found.extend(ends.map(|steps| Candidate { steps: steps.to_vec(), is_surely_path }));
        }
        if after.len() < rest.len() {
            before = text.get(..text.len().saturating_sub(after.len())).and_then(|t| t.chars().last()).unwrap_or(' ');
            rest = after;
        } else {
            before = first;
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
        }
    }
    found
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '@')
}

/// Parses `a.b[0]["c"]` at the beginning of the text. Returns the rest of the text too.
fn dotted(text: &str) -> (Vec<Step>, &str) {
    let mut steps = Vec::new();
    let mut rest = text;
    loop {
        let (step, after) = if let Some(inner) = rest.strip_prefix('[') {
            let step = match inner.strip_prefix('"') {
                Some(inner) => quoted(inner),
                None => inner.split_once(']').map(|(digits, after)| (digits.to_owned(), after)),
            };
            let Some((name, after)) = step else { return (steps, rest) };
            let index = name.parse().ok();
            if index.is_none() && !inner.starts_with('"') {
                return (steps, rest);
            }
            (Step { name, index }, after)
        } else {
            let word = if steps.is_empty() { Some(rest) } else { rest.strip_prefix('.') };
            let Some(word) = word else { return (steps, rest) };
            let end = word.find(|c| !is_word(c)).unwrap_or(word.len());
            let Some((name, after)) = word.split_at_checked(end).filter(|(name, _)| !name.is_empty()) else {
                return (steps, rest);
            };
            (Step { name: name.to_owned(), index: name.parse().ok() }, after)
        };
        steps.push(step);
        rest = after;
    }
}

/// Parses the rest of `"name"]` after its first quote.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut chars = text.char_indices();
    while let Some((index, c)) = chars.next() {
        match c {
            '"' => return text.get(index..)?.strip_prefix("\"]").map(|after| (name, after)),
            '\\' => name.extend(chars.next().map(|(_, c)| c)),
            c => name.push(c),
        }
    }
    None
}

/// Parses `/a/0/b` at the beginning of the text. Returns the rest of the text too.
fn pointer(text: &str) -> (Vec<Step>, &str) {
    let is_end = |c: char| c.is_whitespace() || matches!(c, ':' | ',' | ';' | '"' | '\'' | '`' | ')');
    let (path, rest) = text.split_at_checked(text.find(is_end).unwrap_or(text.len())).unwrap_or((text, ""));
    let steps = path.split('/').skip(1).map(|part| {
        let name = part.replace("~1", "/").replace("~0", "~");
        Step { index: name.parse().ok(), name }
    });
    (steps.collect(), rest)
}
