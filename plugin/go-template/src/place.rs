//! Lines and columns in the user's text and in its translation.

/// The origins of the parts of a translation.
#[derive(Debug, Default)]
pub(crate) struct Places {
    pieces: Vec<Piece>,
}

#[derive(Clone, Copy, Debug)]
struct Piece {
    /// The start of the part in the translation, in bytes.
    translated: usize,
    /// The start of the part in the user's text.
    source: usize,
    /// True for a rewritten tag, all of which comes from its start in the user's text.
    is_tag: bool,
}

impl Places {
    /// Records the start of a rewritten tag.
    pub(crate) fn tag(&mut self, translated: usize, source: usize) {
        self.pieces.push(Piece { translated, source, is_tag: true });
    }

    /// Records the start of copied text.
    pub(crate) fn text(&mut self, translated: usize, source: usize) {
        self.pieces.push(Piece { translated, source, is_tag: false });
    }

    /// The byte in the user's text for a line and a column of the translation.
    pub(crate) fn in_source(&self, source: &str, translated: &str, (line, column): (usize, usize)) -> usize {
        let at = offset(translated, line, column);
        let piece = self.pieces.iter().rev().find(|piece| piece.translated <= at);
        let place = match piece {
            Some(piece) if piece.is_tag => piece.source,
            Some(piece) => piece.source.saturating_add(at.saturating_sub(piece.translated)),
            None => at,
        };
        (0..=place.min(source.len())).rev().find(|&at| source.is_char_boundary(at)).unwrap_or_default()
    }
}

/// Line and column, both from 1. Columns count characters.
pub(crate) fn line_and_column(source: &str, at: usize) -> (usize, usize) {
    let before = source.get(..at).unwrap_or(source);
    let line_start = before.rfind('\n').map_or(0, |newline| newline.saturating_add(1));
    let column = before.get(line_start..).unwrap_or_default().chars().count();
    (before.matches('\n').count().saturating_add(1), column.saturating_add(1))
}

fn offset(text: &str, line: usize, column: usize) -> usize {
    let before = line.saturating_sub(1);
    let start: usize = text.split_inclusive('\n').take(before).map(str::len).sum();
    let rest = text.get(start..).unwrap_or_default();
    let within: usize = rest.chars().take(column.saturating_sub(1)).map(char::len_utf8).sum();
    start.saturating_add(within)
}
