//! Standard output, a line at a time.

use std::io::{BufWriter, Write};

use graven_record::ocsf;
use serde_json::Value;

use super::CommandError;

/// Buffered lines.
pub(super) struct Output<W: Write>(BufWriter<W>);

impl<W: Write> Output<W> {
    pub(super) fn new(to: W) -> Self {
        Self(BufWriter::new(to))
    }

    pub(super) fn line(&mut self, text: &str) -> Result<(), CommandError> {
        writeln!(self.0, "{text}").map_err(CommandError::Output)
    }

    /// What JSON itself lets pass and a terminal obeys (C1, bidi overrides) is written as `\uNNNN`.
    pub(super) fn json(&mut self, value: &Value) -> Result<(), CommandError> {
        self.line(&ocsf::compact(value))
    }

    /// What was written is out.
    pub(super) fn end(&mut self) -> Result<(), CommandError> {
        self.0.flush().map_err(CommandError::Output)
    }
}
