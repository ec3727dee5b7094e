//! Standard output, a line at a time.

use std::io::{BufWriter, Write};

use serde::Serialize;

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

    pub(super) fn json(&mut self, value: &impl Serialize) -> Result<(), CommandError> {
        serde_json::to_writer(&mut self.0, value).map_err(|e| CommandError::Output(e.into()))?;
        self.line("")
    }

    /// What was written is out.
    pub(super) fn end(&mut self) -> Result<(), CommandError> {
        self.0.flush().map_err(CommandError::Output)
    }
}
