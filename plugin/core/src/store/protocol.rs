//! Commands and replies: RESP, which Redis speaks, or Upstash's REST form of it.
//!
//! The crates for RESP read nested lists by recursion without a limit, so a reply could overflow the stack of the VM.

use serde_json::Value;

/// How deep lists may be nested. The scripts answer with one list.
const MAX_DEPTH: usize = 4;

/// The form of commands and replies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// Redis's own: the body of a callout is a pipeline of commands.
    #[default]
    Resp,
    /// Upstash's REST API: the body is a JSON array of commands.
    Upstash,
}

/// A reply to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A number.
    Integer(i64),
    /// A text or bytes.
    Text(String),
    /// No value.
    Nothing,
    /// Several replies.
    List(Vec<Reply>),
    /// The store refused the command. It did not run, unless its script failed half way.
    Error(String),
}

/// A command: its name and arguments.
pub type Command = Vec<String>;

impl Protocol {
    /// Writes a pipeline of commands.
    pub fn encode(self, commands: &[Command]) -> Vec<u8> {
        match self {
            Protocol::Resp => resp(commands),
            Protocol::Upstash => serde_json::to_vec(commands).unwrap_or_default(),
        }
    }

    /// Reads the replies to a pipeline. Where the bytes end early, the last replies are missing.
    pub fn decode(self, bytes: &[u8]) -> Vec<Reply> {
        match self {
            Protocol::Resp => resp_replies(bytes),
            Protocol::Upstash => upstash_replies(bytes),
        }
    }
}

fn resp(commands: &[Command]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut number = itoa::Buffer::new();
    let mut head = |bytes: &mut Vec<u8>, kind: u8, count: usize| {
        bytes.push(kind);
        bytes.extend_from_slice(number.format(count).as_bytes());
        bytes.extend_from_slice(b"\r\n");
    };
    for command in commands {
        head(&mut bytes, b'*', command.len());
        for part in command {
            head(&mut bytes, b'$', part.len());
            bytes.extend_from_slice(part.as_bytes());
            bytes.extend_from_slice(b"\r\n");
        }
    }
    bytes
}

/// Reads replies until the bytes end or are not RESP.
fn resp_replies(mut bytes: &[u8]) -> Vec<Reply> {
    let mut replies = Vec::new();
    while let Some((reply, rest)) = resp_reply(bytes, MAX_DEPTH) {
        replies.push(reply);
        bytes = rest;
    }
    replies
}

/// Reads one reply, in which lists are nested at most `depth` deep. `None` if the bytes end early or are not RESP.
fn resp_reply(bytes: &[u8], depth: usize) -> Option<(Reply, &[u8])> {
    let (kind, bytes) = bytes.split_first()?;
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    let (line, rest) = bytes.split_at_checked(end)?;
    let rest = rest.get(2..)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let number = || std::str::from_utf8(line).ok()?.parse::<i64>().ok();
    Some(match kind {
        b'+' => (Reply::Text(text(line)), rest),
        b'-' => (Reply::Error(text(line)), rest),
        b':' => (Reply::Integer(number()?), rest),
        b'$' | b'*' if number()? == -1 => (Reply::Nothing, rest),
        b'$' => {
            let (value, rest) = rest.split_at_checked(usize::try_from(number()?).ok()?)?;
            (Reply::Text(text(value)), rest.strip_prefix(b"\r\n")?)
        }
        b'*' => {
            let depth = depth.checked_sub(1)?;
            let (mut replies, mut rest) = (Vec::new(), rest);
            for _ in 0..usize::try_from(number()?).ok()? {
                let (reply, after) = resp_reply(rest, depth)?;
                replies.push(reply);
                rest = after;
            }
            (Reply::List(replies), rest)
        }
        _ => return None,
    })
}

fn upstash_replies(bytes: &[u8]) -> Vec<Reply> {
    let Ok(value) = serde_json::from_slice::<Value>(bytes) else { return Vec::new() };
    let one = |entry: Value| match entry {
        Value::Object(mut members) => match (members.remove("error"), members.remove("result")) {
            (Some(error), _) => Reply::Error(error.as_str().unwrap_or("an error without a text").to_owned()),
            (None, Some(result)) => result.into(),
            (None, None) => Reply::Nothing,
        },
        other => other.into(),
    };
    match value {
        Value::Array(entries) => entries.into_iter().map(one).collect(),
        // An error about the whole request.
        other => vec![one(other)],
    }
}

impl From<Value> for Reply {
    fn from(value: Value) -> Self {
        match value {
            Value::Null => Reply::Nothing,
            Value::Array(values) => Reply::List(values.into_iter().map(Reply::from).collect()),
            Value::Number(number) => number.as_i64().map_or_else(|| Reply::Text(number.to_string()), Reply::Integer),
            Value::String(text) => Reply::Text(text),
            other => Reply::Text(other.to_string()),
        }
    }
}

impl Reply {
    /// The numbers of a list of numbers; `None` for any other reply.
    pub fn numbers(&self) -> Option<Vec<u64>> {
        let Reply::List(replies) = self else { return None };
        let number = |reply: &Reply| match reply {
            Reply::Integer(number) => u64::try_from(*number).ok(),
            _ => None,
        };
        replies.iter().map(number).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn commands() -> Vec<Command> {
        vec![vec!["SET".into(), "k".into(), "ä\r\n".into()], vec!["GET".into(), "k".into()]]
    }

    #[test]
    fn commands_are_arrays_of_bulk_strings() {
        let wanted = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\nä\r\n\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n";
        assert_eq!(String::from_utf8(Protocol::Resp.encode(&commands())).unwrap(), wanted);
        let json = br#"[["SET","k","\u00e4"],["GET","k"]]"#;
        let sent: Value = serde_json::from_slice(&Protocol::Upstash.encode(&commands())).unwrap();
        assert_ne!(sent, serde_json::from_slice::<Value>(json).unwrap(), "the value keeps its line end");
    }

    #[test]
    fn replies_of_a_pipeline_are_read_in_order() {
        let bytes = b"+OK\r\n:12\r\n$-1\r\n*2\r\n:1\r\n$2\r\nab\r\n-NOSCRIPT No matching script.\r\n";
        let replies = Protocol::Resp.decode(bytes);
        let wanted = vec![
            Reply::Text("OK".into()),
            Reply::Integer(12),
            Reply::Nothing,
            Reply::List(vec![Reply::Integer(1), Reply::Text("ab".into())]),
            Reply::Error("NOSCRIPT No matching script.".into()),
        ];
        assert_eq!(replies, wanted);
        for end in 0..bytes.len() {
            let some = Protocol::Resp.decode(&bytes[..end]);
            assert_eq!(some, wanted[..some.len()], "bytes that end at {end}");
        }
    }

    #[test]
    fn replies_that_are_not_resp_end_the_list() {
        let deep = b"*1\r\n".repeat(100_000);
        let cases: [&[u8]; 8] = [
            &deep,
            b"*1000000000\r\n:1\r\n",
            b"$99999999999999\r\nab",
            b"*-5\r\n",
            b"$-7\r\n",
            b":x\r\n",
            b"\r\n",
            b"?\r\n",
        ];
        for bytes in cases {
            assert_eq!(
                Protocol::Resp.decode(bytes),
                [],
                "{:?}",
                String::from_utf8_lossy(&bytes[..bytes.len().min(20)])
            );
        }
        assert_eq!(Protocol::Resp.decode(b":1\r\n?"), [Reply::Integer(1)]);
    }

    #[test]
    fn replies_of_upstash_are_read_in_order() {
        let bytes = br#"[{"result":[1,"a",null]},{"error":"ERR wrong"},{"result":null}]"#;
        let list = Reply::List(vec![Reply::Integer(1), Reply::Text("a".into()), Reply::Nothing]);
        assert_eq!(Protocol::Upstash.decode(bytes), [list, Reply::Error("ERR wrong".into()), Reply::Nothing]);
        assert_eq!(Protocol::Upstash.decode(br#"{"error":"Unauthorized"}"#), [Reply::Error("Unauthorized".into())]);
        assert_eq!(Protocol::Upstash.decode(b"<html>"), []);
    }
}
