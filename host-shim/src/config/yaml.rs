//! Parses YAML to a tree.

use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, Tag};

use super::node::{Key, Node, Value, insert};
use super::scalar::resolve;

/// The maximum depth. Envoy reads its YAML with protobuf's JSON reader, which has this limit.
pub(super) const MAX_DEPTH: usize = 100;

/// The maximum number of values that aliases may copy. Without a limit, a few aliases of aliases could fill the memory.
/// This is enough for a hundred thousand keys that two filters share.
const MAX_COPIES: usize = 5_000_000;

/// A tree, with notices about unusual parts: line and message.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) root: Node,
    pub(super) notices: Vec<(usize, String)>,
}

/// A syntax error.
#[derive(Debug)]
pub(super) struct SyntaxFault {
    pub(super) line: usize,
    pub(super) message: String,
}

impl From<ScanError> for SyntaxFault {
    fn from(error: ScanError) -> Self {
        let column = error.marker().col().saturating_add(1);
        SyntaxFault { line: error.marker().line(), message: format!("column {column}: {}", mistake(error.info())) }
    }
}

/// Plain messages for common mistakes, by a part of the parser's message. They do not contain the line, which can
/// contain a secret.
const MISTAKES: [(&str, &str); 16] = [
    ("tab", "YAML allows no tabs in indentation: use spaces"),
    ("mapping values", "unexpected colon: put a string that contains one in quotes, or correct the indentation"),
    ("placement of ':'", "unexpected colon: put a string that contains one in quotes, or correct the indentation"),
    ("simple key", "a colon is missing after the name on this line"),
    ("block sequence entries", "a list cannot begin here: begin each item on a new line"),
    ("'-' indicator", "this line is not indented like the other items of the list"),
    ("expected key", "this line is not indented like the lines before it"),
    ("indent", "this line is not indented like the lines before it"),
    ("flow mapping", "a comma or } is missing"),
    ("flow sequence", "a comma or ] is missing"),
    ("end of stream", "a quote is not closed"),
    ("unknown escape", "unknown escape: in double quotes, write a backslash twice"),
    ("unknown anchor", "no value before this one has an anchor with that name"),
    ("trailing content", "something follows the closing quote"),
    ("node content", "a value is missing, or a string that begins with this character must be in quotes"),
    ("unexpected character", "a string that begins with this character must be in quotes"),
];

fn mistake(said: &str) -> &str {
    MISTAKES.iter().find(|(part, _)| said.contains(part)).map_or(said, |(_, mistake)| mistake)
}

/// Parses one document.
pub(super) fn parse(text: &str) -> Result<Parsed, SyntaxFault> {
    let mut builder = Builder::default();
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let (event, span) = event?;
        builder.on_event(event, span)?;
    }
    let root = builder.root.unwrap_or(Node::new(1, Value::Null));
    Ok(Parsed { root, notices: builder.notices })
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    root: Option<Node>,
    anchors: HashMap<usize, Piece>,
    notices: Vec<(usize, String)>,
    documents: usize,
    /// The number of values that were copied into the tree or to an anchor.
    copies: usize,
}

/// A list or a map whose end has not been read.
struct Open {
    anchor: usize,
    piece: Piece,
    key: Option<PendingKey>,
    /// The keys of a map so far.
    names: HashSet<String>,
}

struct PendingKey {
    key: Key,
    is_ignored: bool,
}

/// A node, with the number of nodes in it and their depth.
#[derive(Clone)]
struct Piece {
    node: Node,
    size: usize,
    height: usize,
}

impl Builder {
    fn on_event(&mut self, event: Event<'_>, span: Span) -> Result<(), SyntaxFault> {
        let line = span.start.line();
        match event {
            Event::DocumentStart(_) => {
                self.documents = self.documents.saturating_add(1);
                if self.documents > 1 {
                    let message = "a second document: Envoy reads only the first".to_owned();
                    return Err(SyntaxFault { line, message });
                }
            }
            Event::Scalar(text, style, anchor, tag) => return self.scalar(&text, style, anchor, tag.as_deref(), line),
            Event::Alias(anchor) => {
                let Some(piece) = self.anchors.get(&anchor) else {
                    let message = "an alias of a value that contains the alias".to_owned();
                    return Err(SyntaxFault { line, message });
                };
                let (size, height) = (piece.size, piece.height);
                self.check_depth(line, height)?;
                self.copies = count_copies(self.copies, size, line)?;
                let piece = piece.clone();
                return self.add(piece, 0);
            }
            Event::SequenceStart(anchor, _) => return self.start(Value::List(Vec::new()), anchor, line),
            Event::MappingStart(anchor, _) => return self.start(Value::Map(Vec::new()), anchor, line),
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(open) = self.open.pop() {
                    return self.add(open.piece, open.anchor);
                }
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
        Ok(())
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&Tag>,
        line: usize,
    ) -> Result<(), SyntaxFault> {
        let is_key = self.open.last().is_some_and(|open| open.is_map() && open.key.is_none());
        if is_key {
            return self.key(text, style, anchor, tag, line);
        }
        // yaml-cpp ignores the quotes of a scalar that has a tag.
        let is_string = match tag {
            None => style != ScalarStyle::Plain,
            Some(tag) => is_tag(tag, ""),
        };
        let value = match (is_string, tag) {
            (false, Some(_)) if text.is_empty() => Value::String(String::new()),
            (false, _) => resolve(text),
            (true, _) => Value::String(text.to_owned()),
        };
        let is_literal = style == ScalarStyle::Literal;
        let plain = (!is_string && tag.is_none()).then(|| text.to_owned());
        let line = if is_literal || style == ScalarStyle::Folded { header_line(text, line) } else { line };
        self.add(Piece { node: Node { line, value, is_literal, plain }, size: 1, height: 0 }, anchor)
    }

    fn key(
        &mut self,
        text: &str,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&Tag>,
        line: usize,
    ) -> Result<(), SyntaxFault> {
        if text == "<<" && style == ScalarStyle::Plain {
            self.notices.push((line, "Envoy does not merge maps: \"<<\" is an ordinary key".to_owned()));
        }
        let is_null = style == ScalarStyle::Plain && resolve(text) == Value::Null;
        let name = if is_null { "null" } else { text };
        let node = Node::new(line, Value::String(name.to_owned()));
        if anchor > 0 {
            self.anchors.insert(anchor, Piece { node, size: 1, height: 0 });
        }
        self.pend(Key { name: name.to_owned(), line }, tag.is_some_and(|tag| is_tag(tag, "ignore")));
        Ok(())
    }

    fn pend(&mut self, key: Key, is_ignored: bool) {
        if let Some(open) = self.open.last_mut() {
            open.key = Some(PendingKey { key, is_ignored });
        }
    }

    fn start(&mut self, value: Value, anchor: usize, line: usize) -> Result<(), SyntaxFault> {
        let piece = Piece { node: Node::new(line, value), size: 1, height: 1 };
        self.open.push(Open { anchor, piece, key: None, names: HashSet::new() });
        self.check_depth(line, 0)
    }

    fn check_depth(&self, line: usize, height: usize) -> Result<(), SyntaxFault> {
        if self.open.len().saturating_add(height) > MAX_DEPTH {
            return Err(SyntaxFault {
                line,
                message: format!("nested more than {MAX_DEPTH} levels deep, which is Envoy's limit"),
            });
        }
        Ok(())
    }

    /// Adds a complete node to the innermost open list or map.
    fn add(&mut self, piece: Piece, anchor: usize) -> Result<(), SyntaxFault> {
        if anchor > 0 {
            self.copies = count_copies(self.copies, piece.size, piece.node.line)?;
            self.anchors.insert(anchor, piece.clone());
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(piece.node);
            return Ok(());
        };
        open.piece.size = open.piece.size.saturating_add(piece.size);
        open.piece.height = open.piece.height.max(piece.height.saturating_add(1));
        match (&mut open.piece.node.value, open.key.take()) {
            (Value::Map(_), None) => {
                let line = piece.node.line;
                let Value::String(name) = piece.node.value else {
                    let message = format!("{} cannot be a key", piece.node.kind());
                    return Err(SyntaxFault { line, message });
                };
                self.pend(Key { name, line }, false);
            }
            (Value::Map(entries), Some(PendingKey { key, is_ignored: false })) => {
                let (name, line) = (key.name.clone(), key.line);
                if let Some(first) = insert(entries, &mut open.names, key, piece.node) {
                    let message = format!("{name:?} is also on line {first}: Envoy uses the last one");
                    self.notices.push((line, message));
                }
            }
            (Value::List(items), _) => items.push(piece.node),
            _ => {}
        }
        Ok(())
    }
}

impl Open {
    fn is_map(&self) -> bool {
        matches!(self.piece.node.value, Value::Map(_))
    }
}

fn count_copies(before: usize, more: usize, line: usize) -> Result<usize, SyntaxFault> {
    let copies = before.saturating_add(more);
    if copies > MAX_COPIES {
        let message = format!("more than {MAX_COPIES} values are copies made by aliases");
        return Err(SyntaxFault { line, message });
    }
    Ok(copies)
}

/// Finds the line of the `|` or `>` before a text. The parser only returns the first line that is not empty.
fn header_line(text: &str, first: usize) -> usize {
    match text.find(|c| c != '\n') {
        Some(empty_lines) => first.saturating_sub(empty_lines).saturating_sub(1),
        None => first,
    }
}

/// Whether the tag is `!suffix`.
fn is_tag(tag: &Tag, suffix: &str) -> bool {
    format!("{}{}", tag.handle, tag.suffix) == format!("!{suffix}")
}
