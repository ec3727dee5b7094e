//! Numbers of several rounds as one: the one in the middle, with the ends of what was seen.

/// The middle of some values and how far they lie apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub median: f64,
    pub least: f64,
    pub most: f64,
}

impl Spread {
    /// None for no values, or if one of them is no number.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        if values.iter().any(|value| value.is_nan()) {
            return None;
        }
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let half = values.len() / 2;
        let median =
            if values.len() % 2 == 1 { values[half] } else { f64::midpoint(values[half - 1], values[half]) };
        Some(Self { median, least, most })
    }
}

/// The same for pairs: each pair's own ratio, so that what drifts from round to round does not count.
pub(crate) fn ratios(pairs: impl IntoIterator<Item = (f64, f64)>) -> Option<Spread> {
    Spread::of(pairs.into_iter().map(|(untraced, traced)| traced / untraced))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_odd_and_even() {
        let spread = Spread::of([3.0, 1.0, 2.0]);
        assert_eq!(spread, Some(Spread { median: 2.0, least: 1.0, most: 3.0 }));
        assert_eq!(Spread::of([4.0, 1.0]).map(|s| s.median), Some(2.5));
        assert_eq!(Spread::of([]), None);
        assert_eq!(Spread::of([1.0, f64::NAN]), None);
    }

    #[test]
    fn a_machine_that_gets_slower_does_not_change_the_ratio() {
        let drift = (1..=9).map(f64::from).map(|n| (100.0 * n, 120.0 * n));
        let spread = ratios(drift);
        assert!(spread.is_some_and(|s| (s.median - 1.2).abs() < 1e-9 && (s.most - s.least).abs() < 1e-9));
    }

    #[test]
    fn a_pair_without_time_has_no_ratio() {
        assert_eq!(ratios([(0.0, 0.0)]), None);
    }
}
