//! Runs one line of a script.

use crate::abi::{Hostcall, Return, Take, address, size};
use crate::script::{Op, Word, low};
use crate::{memory, state, text};

/// The result of an operation.
pub(crate) enum Outcome {
    /// The text after the operation. The script continues.
    Shown(String),
    /// The callback returns this.
    Returned(u32),
}

/// The names of the ABI's numbers.
#[rustfmt::skip]
const NAMES: [(&str, i64); 37] = [
    ("continue", 0), ("pause", 1),
    ("trace", 0), ("debug", 1), ("info", 2), ("warn", 3), ("error", 4), ("critical", 5),
    ("request_body", 0), ("response_body", 1), ("downstream_data", 2), ("upstream_data", 3), ("call_body", 4),
    ("grpc_message", 5), ("vm_configuration", 6), ("plugin_configuration", 7), ("foreign_arguments", 8),
    ("request_headers", 0), ("request_trailers", 1), ("response_headers", 2), ("response_trailers", 3),
    ("grpc_initial_metadata", 4), ("grpc_trailing_metadata", 5), ("call_headers", 6), ("call_trailers", 7),
    ("request", 0), ("response", 1), ("downstream", 2), ("upstream", 3),
    ("counter", 0), ("gauge", 1), ("histogram", 2),
    ("all", 0xffff_ffff), ("max", 0x7fff_ffff), ("min", -0x8000_0000), ("true", 1), ("false", 0),
];

/// The content of a result's memory before the host writes to it.
const UNWRITTEN: u64 = 0xfefe_fefe_fefe_fefe;

/// The memory of a result: two values, because bytes are a pointer and a length.
type Slots = [u64; 2];

/// Runs `op` in a callback of the context `context` with the arguments `arguments`.
pub(crate) fn run(op: &Op, arguments: &[u32]) -> Outcome {
    let shown = match op.words.split_first() {
        Some((Word::Bare(name), words)) => match name.as_str() {
            "return" => return Outcome::Returned(number(words.first(), arguments).map_or(0, low)),
            name => control(name, words, arguments).unwrap_or_else(|| hostcall(name, words, arguments)),
        },
        _ => Err("no op"),
    };
    Outcome::Shown(shown.unwrap_or_else(|odd| format!("not understood: {odd}")))
}

type Shown = Result<String, &'static str>;

/// Operations that are not hostcalls.
fn control(name: &str, words: &[Word], arguments: &[u32]) -> Option<Shown> {
    let first = || number(words.first(), arguments).map(low);
    let done = match name {
        "trap" => memory::trap(),
        "loop" => loop {
            std::hint::spin_loop();
        },
        "overflow" => return Some(Ok(memory::overflow(1).to_string())),
        "grow" => return Some(first().map(|pages| format!("{} pages", memory::grow(pages)))),
        "store" => first().map(memory::store),
        "malloc" => set_manner(words.first()),
        "let" => match (words.first(), number(words.get(1), arguments)) {
            (Some(Word::Bare(name)), Ok(value)) => {
                state::set_variable(name, value);
                Ok(())
            }
            _ => Err("let what?"),
        },
        _ => return None,
    };
    Some(done.map(|()| "done".to_owned()))
}

fn set_manner(word: Option<&Word>) -> Result<(), &'static str> {
    let Some(Word::Bare(manner)) = word else { return Err("malloc how?") };
    let manner = memory::MANNERS.iter().position(|known| known == manner).ok_or("no such manner")?;
    memory::set_manner(size(manner));
    Ok(())
}

fn hostcall(name: &str, words: &[Word], arguments: &[u32]) -> Shown {
    let hostcall = Hostcall::named(name).ok_or("no such hostcall")?;
    let mut words = words.iter();
    let (mut numbers, mut long) = (Vec::new(), 0);
    for take in hostcall.takes {
        let word = words.next();
        match take {
            Take::Number => numbers.push(low(number(word, arguments)?)),
            Take::Long => long = number(word, arguments)?,
            Take::Bytes => match word.ok_or("too few arguments")? {
                Word::Bytes(bytes) => numbers.extend([address(bytes.as_ptr()), size(bytes.len())]),
                Word::Wild(pointer, len) => numbers.extend([*pointer, *len]),
                Word::Bare(path) => {
                    // The script ends before the guest's memory is freed.
                    let path = path.replace('.', "\0").into_bytes().leak();
                    numbers.extend([address(path.as_ptr()), size(path.len())]);
                }
                _ => return Err("not bytes"),
            },
        }
    }
    let mut slots: Vec<Slots> = vec![[UNWRITTEN; 2]; hostcall.returns.len()];
    let mut rest = words.as_slice();
    let mut target = |slot: &mut u64| match rest.split_first() {
        Some((Word::Target(target), behind)) => {
            rest = behind;
            target.unwrap_or(address(&raw const *slot))
        }
        _ => address(&raw const *slot),
    };
    for (slots, kind) in slots.iter_mut().zip(hostcall.returns) {
        let [first, second] = slots;
        numbers.push(target(first));
        if matches!(kind, Return::Bytes | Return::Pairs) {
            numbers.push(target(second));
        }
    }
    let status = hostcall.call(&numbers, long).ok_or("cannot call")?;
    let (manner, saved) = match rest {
        [] => ("", None),
        [Word::Bare(arrow), Word::Bare(name)] if arrow == ">" => ("", Some(name)),
        [Word::Bare(a), Word::Bare(manner)] if a == "as" => (manner.as_str(), None),
        _ => return Err("too many arguments"),
    };
    let mut shown = status.to_string();
    for (slots, kind) in slots.iter().zip(hostcall.returns).filter(|_| status == 0) {
        // The host has written without the compiler's knowledge.
        let [first, second] = std::hint::black_box(*slots);
        shown.push(' ');
        shown.push_str(&show(*kind, manner, first, second));
        if let Some(name) = saved {
            state::set_variable(name, i64::from(halves(first).0));
        }
    }
    Ok(shown)
}

#[allow(clippy::cast_possible_truncation)]
fn halves(slot: u64) -> (u32, u32) {
    (slot as u32, (slot >> 32) as u32)
}

fn show(kind: Return, manner: &str, first: u64, second: u64) -> String {
    let ((low, _), (len, _), (unwritten, _)) = (halves(first), halves(second), halves(UNWRITTEN));
    match kind {
        Return::Long if first == UNWRITTEN => "unwritten".to_owned(),
        _ if kind != Return::Long && low == unwritten => "unwritten".to_owned(),
        Return::Number if manner == "varies" => if low == 0 { "zero" } else { "not zero" }.to_owned(),
        Return::Long if manner == "varies" => if first == 0 { "zero" } else { "not zero" }.to_owned(),
        Return::Number => low.to_string(),
        Return::Long => first.to_string(),
        Return::Cas => format!("c{}", state::ordinal('c', low)),
        Return::Queue => format!("q{}", state::ordinal('q', low)),
        Return::Bytes | Return::Pairs if len == unwritten => "length unwritten".to_owned(),
        Return::Bytes | Return::Pairs if low == 0 => format!("null/{len}"),
        Return::Bytes | Return::Pairs => match memory::returned(low, len) {
            None => "out of bounds".to_owned(),
            Some(bytes) => show_bytes(kind, manner, bytes),
        },
    }
}

fn show_bytes(kind: Return, manner: &str, bytes: &[u8]) -> String {
    let eight = bytes.first_chunk::<8>().filter(|_| bytes.len() == 8);
    match (manner, eight) {
        ("varies", _) => format!("{} bytes", bytes.len()),
        ("text", _) => if bytes.is_empty() { "empty" } else { "text" }.to_owned(),
        ("int", Some(bytes)) => i64::from_le_bytes(*bytes).to_string(),
        ("float", Some(bytes)) => f64::from_le_bytes(*bytes).to_string(),
        ("pairs", _) => text::show_sorted_pairs(bytes),
        _ if kind == Return::Pairs && manner.is_empty() => text::show_pairs(bytes),
        _ => text::quote(bytes),
    }
}

fn number(word: Option<&Word>, arguments: &[u32]) -> Result<i64, &'static str> {
    match word.ok_or("too few arguments")? {
        Word::Number(number) => Ok(*number),
        Word::Variable(name) => match name.parse::<usize>() {
            Ok(n) => arguments.get(n).copied().map(i64::from).ok_or("the callback has no such argument"),
            Err(_) if name == "context" => arguments.first().copied().map(i64::from).ok_or("no context"),
            Err(_) => state::variable(name).ok_or("no such variable"),
        },
        Word::Bare(name) => {
            NAMES.iter().find(|(known, _)| known == name).map(|(_, number)| *number).ok_or("no such number")
        }
        _ => Err("not a number"),
    }
}
