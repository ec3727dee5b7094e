//! Times for people: UTC, as RFC 3339 writes it.

const NS: u64 = 1_000_000_000;
const DAY: u64 = 86_400;

/// `2026-11-20T12:34:56.123456789Z` from ns since the Unix epoch.
pub fn utc(ns: u64) -> String {
    let seconds = ns / NS;
    let (year, month, day) = date(seconds / DAY);
    let of_day = seconds % DAY;
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:09}Z", ns % NS)
}

/// Days since 1970-01-01 to a Gregorian date. Years are counted from 1 March of year 0, so that the leap day
/// is a year's last; 400 of them have 146,097 days.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments_are_written_as_rfc_3339_does() {
        assert_eq!(utc(0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(utc(951_782_400 * NS), "2000-02-29T00:00:00.000000000Z");
        assert_eq!(utc(1_795_305_601_123_000_001), "2026-11-22T00:00:01.123000001Z");
        assert_eq!(utc(4_107_542_399 * NS), "2100-02-28T23:59:59.000000000Z");
        assert_eq!(utc(4_107_542_400 * NS), "2100-03-01T00:00:00.000000000Z");
        assert_eq!(utc(u64::MAX), "2554-07-21T23:34:33.709551615Z");
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let mut before = date(0);
        for day in 1..213_000 {
            let now = date(day);
            let next_day = now.2 == before.2 + 1 && (now.0, now.1) == (before.0, before.1);
            let next_month = now.2 == 1 && (now.1 == before.1 + 1 || (now.1, now.0) == (1, before.0 + 1));
            assert!(next_day || next_month, "{before:?} {now:?}");
            before = now;
        }
    }
}
