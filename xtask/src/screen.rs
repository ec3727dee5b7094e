//! Terminal or not, colour or not, and times as people read them.

use std::io::IsTerminal;
use std::time::Duration;

/// True if a person watches standard output.
pub(crate) fn terminal() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

fn colours() -> bool {
    terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// What a piece of text says, so that its colour follows.
#[derive(Clone, Copy)]
pub(crate) enum Tone {
    Good,
    Bad,
    Faint,
    Strong,
}

/// The text in the tone's colour where colours are shown.
pub(crate) fn paint(tone: Tone, text: &str) -> String {
    use owo_colors::OwoColorize;
    if !colours() {
        return text.to_owned();
    }
    match tone {
        Tone::Good => text.green().to_string(),
        Tone::Bad => text.red().bold().to_string(),
        Tone::Faint => text.dimmed().to_string(),
        Tone::Strong => text.bold().to_string(),
    }
}

/// `0.4 s`, `12.0 s`, `3 min 05 s`.
pub(crate) fn elapsed(time: Duration) -> String {
    let seconds = time.as_secs();
    if seconds < 60 {
        format!("{:.1} s", time.as_secs_f64())
    } else {
        format!("{} min {:02} s", seconds / 60, seconds % 60)
    }
}

/// `117 MB`, as apt counts.
pub(crate) fn megabytes(bytes: u64) -> String {
    format!("{} MB", bytes.div_ceil(1_000_000))
}

/// Reads `30s`, `5m`, `1h` or plain seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err("write a time as 30s, 5m or 1h".to_owned()),
    };
    let number: u64 = digits.parse().map_err(|_| "write a time as 30s, 5m or 1h".to_owned())?;
    number.checked_mul(factor).map(Duration::from_secs).ok_or_else(|| "that is too long".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_unit() {
        assert_eq!(duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("45"), Ok(Duration::from_secs(45)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert!(duration("5 parsecs").is_err());
        assert!(duration("s").is_err());
        assert!(duration("99999999999999999999h").is_err());
    }

    #[test]
    fn times_are_shown_short() {
        assert_eq!(elapsed(Duration::from_millis(420)), "0.4 s");
        assert_eq!(elapsed(Duration::from_secs(185)), "3 min 05 s");
    }
}
