//! The script: the operations in each callback. See `tests/conformance/README.md`.

use std::rc::Rc;

use crate::text::{self, Pair};

/// A plugin's or VM's configuration.
#[derive(Default)]
pub(crate) struct Script {
    /// True if every callback is logged, not only those with a section.
    pub(crate) trace: bool,
    pub(crate) sections: Vec<Section>,
}

/// The operations in some callbacks.
pub(crate) struct Section {
    callbacks: Vec<String>,
    /// The path of the request, if the section is only for such streams.
    pub(crate) path: Option<String>,
    /// The number of the call in a context, from 1, if the section is only for that call.
    pub(crate) turn: Option<u32>,
    /// True if it writes no log line, because the number of calls is not certain.
    silent: bool,
    pub(crate) ops: Rc<Vec<Op>>,
}

/// One line of a section.
pub(crate) struct Op {
    /// The text as written.
    pub(crate) text: String,
    /// True if it writes no log line.
    pub(crate) silent: bool,
    pub(crate) words: Vec<Word>,
}

/// A word of an operation.
#[derive(Debug)]
pub(crate) enum Word {
    /// `continue_stream`, `request_headers`
    Bare(String),
    /// `"text"`, and `["name: value"]`, serialized.
    Bytes(Vec<u8>),
    /// `418`, `-1`, `0xff`
    Number(i64),
    /// `$name`
    Variable(String),
    /// `ptr:0xfffffff0/16`: a pointer and a length.
    Wild(u32, u32),
    /// `@bad`, `@0x10`: the address for a result; `@ok`: an address that is valid.
    Target(Option<u32>),
    /// A word that cannot be read.
    Odd,
}

/// An address far outside of any memory.
const BAD_ADDRESS: u32 = 0xffff_fff0;

impl Script {
    /// Reads a configuration.
    pub(crate) fn parse(text: &str) -> Script {
        let mut script = Script::default();
        let mut head: Option<Section> = None;
        let mut ops = Vec::new();
        for line in text.lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if line == "trace" {
                script.trace = true;
            } else if let Some(title) = line.strip_suffix(':').filter(|title| title.starts_with("on_")) {
                script.close(head.take(), &mut ops);
                head = Some(Section::titled(title));
            } else {
                let silent = head.as_ref().is_some_and(|head| head.silent);
                ops.push(Op { text: line.to_owned(), silent, words: words(line) });
            }
        }
        script.close(head, &mut ops);
        script
    }

    fn close(&mut self, head: Option<Section>, ops: &mut Vec<Op>) {
        let ops = std::mem::take(ops);
        self.sections.extend(head.map(|head| Section { ops: Rc::new(ops), ..head }));
    }
}

impl Op {
    /// True if it is logged before it runs.
    pub(crate) fn may_not_return(&self) -> bool {
        self.text == "trap" || self.text == "overflow" || self.text.starts_with("store ")
    }
}

impl Section {
    /// Reads `on_log, on_done /path #2 silently`.
    fn titled(title: &str) -> Section {
        let mut section = Section { callbacks: Vec::new(), path: None, turn: None, silent: false, ops: Rc::default() };
        for word in title.split([' ', ',']).filter(|word| !word.is_empty()) {
            if word.starts_with('/') {
                section.path = Some(word.to_owned());
            } else if let Some(turn) = word.strip_prefix('#') {
                section.turn = turn.parse().ok();
            } else if word == "silently" {
                section.silent = true;
            } else {
                section.callbacks.push(word.to_owned());
            }
        }
        section
    }

    pub(crate) fn is_for(&self, callback: &str) -> bool {
        self.callbacks.iter().any(|name| name == callback)
    }
}

fn words(line: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let (word, behind) = if rest.starts_with('"') {
            let (bytes, behind) = quoted(rest);
            (Word::Bytes(bytes), behind)
        } else if let Some(list) = rest.strip_prefix('[') {
            let (pairs, behind) = list_of_pairs(list);
            (Word::Bytes(text::serialize(&pairs)), behind)
        } else {
            let (word, behind) = rest.split_once(' ').unwrap_or((rest, ""));
            (plain(word), behind)
        };
        words.push(word);
        rest = behind.trim_start();
    }
    words
}

fn plain(word: &str) -> Word {
    let parsed = if let Some(name) = word.strip_prefix('$') {
        Some(Word::Variable(name.to_owned()))
    } else if let Some(wild) = word.strip_prefix("ptr:") {
        let (pointer, len) = wild.split_once('/').unwrap_or((wild, "1"));
        number(pointer).zip(number(len)).map(|(pointer, len)| Word::Wild(low(pointer), low(len)))
    } else if word == "null" {
        Some(Word::Wild(0, 0))
    } else if word == "@bad" {
        Some(Word::Target(Some(BAD_ADDRESS)))
    } else if word == "@ok" {
        Some(Word::Target(None))
    } else if let Some(address) = word.strip_prefix('@') {
        number(address).map(|address| Word::Target(Some(low(address))))
    } else if word.starts_with(|first: char| first.is_ascii_digit() || first == '-') {
        number(word).map(Word::Number)
    } else {
        Some(Word::Bare(word.to_owned()))
    };
    parsed.unwrap_or(Word::Odd)
}

fn number(word: &str) -> Option<i64> {
    match word.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16).ok(),
        None => word.parse().ok(),
    }
}

/// The low half, in the form of a pointer or an i32.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub(crate) fn low(number: i64) -> u32 {
    number as u32
}

/// Reads `"…"` or `"…"*3`, and returns the rest.
fn quoted(text: &str) -> (Vec<u8>, &str) {
    let (bytes, rest) = text::unescape(text.strip_prefix('"').unwrap_or(text));
    let (count, rest) = times(rest);
    (bytes.repeat(count), rest)
}

/// Reads `*3`, or nothing, which means once.
fn times(text: &str) -> (usize, &str) {
    let Some(times) = text.strip_prefix('*') else { return (1, text) };
    let end = times.find(|c: char| !c.is_ascii_digit()).unwrap_or(times.len());
    let (count, behind) = times.split_at_checked(end).unwrap_or((times, ""));
    (count.parse().unwrap_or(1), behind)
}

/// Reads `"name: value", "name: value"]` with an optional `*3`, and returns the rest.
fn list_of_pairs(text: &str) -> (Vec<Pair>, &str) {
    let mut pairs = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', ',']);
        if !rest.starts_with('"') {
            let (count, behind) = times(rest.strip_prefix(']').unwrap_or(rest));
            let all = std::iter::repeat_n(pairs, count).flatten().collect();
            return (all, behind);
        }
        let (item, behind) = quoted(rest);
        // The first byte may be the colon of a pseudo-header.
        let colon = item.iter().skip(1).position(|byte| *byte == b':').map_or(item.len(), |at| at.saturating_add(1));
        let (name, value) = item.split_at_checked(colon).unwrap_or((&item, &[]));
        let value = value.strip_prefix(b": ").or(value.strip_prefix(b":")).unwrap_or(value);
        pairs.push((name.to_vec(), value.to_vec()));
        rest = behind;
    }
}
