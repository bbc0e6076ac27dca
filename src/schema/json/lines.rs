//! Lines and columns of a text.

use super::Span;

/// Lines of a text, for turning offsets into places.
pub struct Lines<'a> {
    text: &'a [u8],
    starts: Vec<usize>,
    /// The place that was asked for last, as offset, line and column: what follows is counted from there.
    last: (usize, usize, usize),
}

impl<'a> Lines<'a> {
    /// Finds the lines of a text.
    pub fn new(text: &'a [u8]) -> Self {
        let breaks = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
        Self { text, starts: std::iter::once(0).chain(breaks).collect(), last: (0, 1, 1) }
    }

    /// Line of an offset, from 1.
    pub fn line(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset)
    }

    /// Line and column of an offset, in characters, both from 1. Quick where offsets are asked for in their order.
    pub fn place(&mut self, offset: usize) -> (u32, u32) {
        let line = self.line(offset);
        let end = offset.min(self.text.len());
        let (from, column) = match self.last {
            (at, last, column) if last == line && at <= end => (at, column),
            _ => (self.starts[line - 1], 1),
        };
        let column = column + String::from_utf8_lossy(&self.text[from..end]).chars().count();
        self.last = (end, line, column);
        (u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(column).unwrap_or(u32::MAX))
    }

    /// How many characters of a place stand on its first line, at least one; `None` for an empty document.
    pub fn length(&self, span: Span) -> Option<u32> {
        let marked = self.text.get(span.start..span.end)?;
        let line = marked.split(|byte| *byte == b'\n').next()?;
        u32::try_from(String::from_utf8_lossy(line).trim_end().chars().count().max(1)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::super::read;
    use super::*;

    #[test]
    fn columns_count_characters() {
        let text = "{\n \"ä\": [x".as_bytes();
        let fault = read(text).1.remove(0);
        assert_eq!(Lines::new(text).place(fault.span.start), (2, 8));
    }
}
