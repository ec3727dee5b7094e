//! Times as an operator types them.

use jiff::Timestamp;

const UNITS: [(char, i64); 5] = [('s', 1), ('m', 60), ('h', 3_600), ('d', 86_400), ('w', 604_800)];
const NANOSECONDS: i64 = 1_000_000_000;

/// The text is no time.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a time: give how long ago (30s, 5m, 2h, 7d) or a time such as 2026-03-01T12:00:00Z")]
pub struct TimeError(String);

/// The text is no span.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a span of time: give a number with s, m, h, d or w, such as 1h")]
pub struct SpanError(String);

/// `5m` before `now`, or RFC 3339; in ns since the Unix epoch.
pub fn point(text: &str, now: i64) -> Result<i64, TimeError> {
    let wrong = || TimeError(text.to_owned());
    if let Ok(span) = span(text) {
        return Ok(now.saturating_sub(span));
    }
    let at: Timestamp = text.trim().parse().map_err(|_| wrong())?;
    i64::try_from(at.as_nanosecond()).map_err(|_| wrong())
}

/// `90s`, `5m`, `2h`, `7d`, `1w`; in ns.
pub fn span(text: &str) -> Result<i64, SpanError> {
    let wrong = || SpanError(text.to_owned());
    let text = text.trim();
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?.1;
    let digits = &text[..text.len() - unit.len_utf8()];
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let number: i64 = plain.then(|| digits.parse().ok()).flatten().ok_or_else(wrong)?;
    number.checked_mul(seconds).and_then(|s| s.checked_mul(NANOSECONDS)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use super::*;

    #[test]
    fn spans_count_back_from_now_and_times_stand() {
        assert_eq!(point("5m", 1_000 * NANOSECONDS).unwrap(), 700 * NANOSECONDS);
        assert_eq!(point("1970-01-01T00:00:10Z", 0).unwrap(), 10 * NANOSECONDS);
        assert_eq!(point("1970-01-01T01:00:10+01:00", 0).unwrap(), 10 * NANOSECONDS);
    }

    #[test]
    fn everything_else_is_refused_with_the_text() {
        for text in ["", "m", "5", "-5m", "5 m", "5y", "999999999999999999d", "yesterday", "ä"] {
            assert!(point(text, 0).unwrap_err().to_string().contains("is not a time"), "{text}");
        }
    }
}
