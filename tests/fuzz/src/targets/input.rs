//! Taking an input apart.

/// What separates the parts of an input, so that seeds can be read and written by hand.
const SEPARATOR: &[u8] = b"\n--\n";

/// The parts of an input; empty ones behind the last.
pub fn parts<const N: usize>(bytes: &[u8]) -> [&[u8]; N] {
    let mut rest = Some(bytes);
    std::array::from_fn(|_| {
        let part = rest.unwrap_or_default();
        let at = part.windows(SEPARATOR.len()).position(|window| window == SEPARATOR);
        rest = at.map(|at| &part[at + SEPARATOR.len()..]);
        &part[..at.unwrap_or(part.len())]
    })
}

/// Lines of the form `name: value`. A line without a colon is a name.
pub fn pairs(text: &[u8]) -> Vec<(&[u8], &[u8])> {
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines
        .map(|line| {
            // Names of pseudo-headers begin with a colon.
            let colon = line.iter().skip(1).position(|byte| *byte == b':').map(|at| at + 1);
            let (name, value) = line.split_at(colon.unwrap_or(line.len()));
            let value = value.strip_prefix(b":").unwrap_or(value);
            (name, value.strip_prefix(b" ").unwrap_or(value))
        })
        .collect()
}

/// Numbers of an input, one after the other; 0 behind its end.
pub struct Numbers<'i>(pub &'i [u8]);

impl Numbers<'_> {
    /// A byte.
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// So many bytes, or fewer at the end.
    pub fn take(&mut self, count: usize) -> &[u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// A number below `end`, which is at most 256.
    pub fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte()) % end.max(1)
    }
}
