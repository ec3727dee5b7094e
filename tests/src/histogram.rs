//! Times of single operations, kept as counts so that keeping one costs no more than a few instructions.

/// Each power of two is cut into so many buckets, as a power of two: no bucket is wider than 1/128 of its time,
/// and a quantile is placed within its bucket, so a ratio of two of them is good to a percent and better.
const CUTS: u32 = 7;
/// Buckets: up to 2^[`LARGEST`] ns, 18 minutes. What is longer counts there.
const BUCKETS: usize = ((LARGEST - CUTS + 1) as usize) << CUTS;
const LARGEST: u32 = 40;

/// Counts by time.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], total: 0 }
    }
}

impl Histogram {
    /// Counts one time, ns.
    pub fn add(&mut self, nanoseconds: u64) {
        self.counts[bucket(nanoseconds)] += 1;
        self.total += 1;
    }

    /// How many were counted.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The time, ns, that this part (0 to 1) of all stay below; times of one bucket are taken as spread
    /// evenly over it. None if nothing was counted.
    pub fn quantile(&self, part: f64) -> Option<f64> {
        let rank = part.clamp(0.0, 1.0) * self.total as f64;
        let mut below = 0.0;
        for (number, count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let count = *count as f64;
            if below + count >= rank {
                let (from, to) = bounds(number);
                return Some(from + (to - from) * ((rank - below) / count));
            }
            below += count;
        }
        None
    }
}

/// The bucket of a time. Below 2^[`CUTS`] each ns has its own.
fn bucket(nanoseconds: u64) -> usize {
    let shift = (nanoseconds | 1).ilog2().saturating_sub(CUTS);
    let within = usize::try_from(nanoseconds >> shift).unwrap_or(usize::MAX);
    ((shift as usize) << CUTS).saturating_add(within).min(BUCKETS - 1)
}

/// From where to where a bucket reaches, ns.
fn bounds(bucket: usize) -> (f64, f64) {
    let shift = (bucket >> CUTS).saturating_sub(1);
    let within = bucket - (shift << CUTS);
    let width = (1_u64 << shift) as f64;
    (within as f64 * width, (within + 1) as f64 * width)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_lies_within_the_bounds_of_its_bucket() {
        for time in (0..100_000).chain((17..40).flat_map(|n| [(1 << n) - 1, 1 << n, (1 << n) + 1])) {
            let (from, to) = bounds(bucket(time));
            assert!(from <= time as f64 && (time as f64) < to, "{time} in {from}..{to}");
            assert!(to - from <= (from / 128.0).max(1.0), "{time}: {from}..{to} is too wide");
        }
    }

    #[test]
    fn buckets_follow_each_other_without_a_gap() {
        assert!((1..BUCKETS).all(|n| bounds(n - 1).1.to_bits() == bounds(n).0.to_bits()));
    }

    #[test]
    fn a_time_beyond_all_counts_as_the_longest() {
        let mut histogram = Histogram::default();
        histogram.add(u64::MAX);
        assert_eq!(histogram.counts[BUCKETS - 1], 1);
    }

    #[test]
    fn quantiles_are_good_to_a_percent() -> anyhow::Result<()> {
        let mut histogram = Histogram::default();
        (1..=10_000).for_each(|n| histogram.add(n * 10));
        for (part, time) in [(0.5, 50_000.0), (0.99, 99_000.0), (1.0, 100_000.0)] {
            let found = histogram.quantile(part).ok_or_else(|| anyhow::anyhow!("nothing"))?;
            assert!((found / time - 1.0).abs() < 0.01, "{part}: {found}, not {time}");
        }
        assert_eq!(histogram.total(), 10_000);
        Ok(())
    }

    #[test]
    fn nothing_has_no_quantile() {
        assert_eq!(Histogram::default().quantile(0.5), None);
    }
}
