//! Looks: what a record, a host and a finding are on a terminal and in JSON.
//!
//! In: values. Out: text without an end of line, or JSON. Always: what a host supplied is escaped by
//! `graven_record::text` before it is put between our own words; colour only where it was asked for. Never:
//! I/O. It cannot fail.

pub mod event;
pub mod hosts;
pub mod replay;

use std::io::IsTerminal;

use graven_record::text;

use crate::store::HostRow;

/// Digits of a host's id that people compare.
const SHORT_ID: usize = 12;
const MILLISECOND: u64 = 1_000_000;

/// How text is dressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// As it is.
    Plain,
    /// With colours.
    Coloured,
}

impl Look {
    /// Colours on a terminal, unless the operator or the terminal does not want them.
    pub fn of_stdout() -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty())
            || std::env::var_os("TERM").is_some_and(|v| v == "dumb");
        if std::io::stdout().is_terminal() && !unwanted { Self::Coloured } else { Self::Plain }
    }

    /// Dresses a text.
    pub fn dress(self, text: &str, style: owo_colors::Style) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Coloured => style.style(text).to_string(),
        }
    }
}

/// A host's or an operator's string between our words.
pub fn quoted(text: &str) -> String {
    text::quoted(text.as_bytes())
}

/// The name of a host, with the beginning of its id.
pub fn short_host(host: &HostRow) -> String {
    let id: String = host.id.to_string().chars().take(SHORT_ID).collect();
    format!("{} ({id})", quoted(&host.hostname))
}

/// A time for a machine: RFC 3339.
pub fn utc(ns: i64) -> String {
    text::utc(u64::try_from(ns).unwrap_or(0))
}

/// A time for a person: to the millisecond, UTC.
pub fn moment(ns: u64) -> String {
    let whole = text::utc(ns - ns % MILLISECOND);
    // `2026-11-20T12:34:56.123000000Z`: the last six digits are zeros now.
    whole.strip_suffix("000000Z").map_or(whole.clone(), |cut| format!("{}Z", cut.replace('T', " ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_cut_to_milliseconds() {
        assert_eq!(moment(1_795_305_601_123_456_789), "2026-11-22 00:00:01.123Z");
        assert_eq!(moment(0), "1970-01-01 00:00:00.000Z");
    }
}
