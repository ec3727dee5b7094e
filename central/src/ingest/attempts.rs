//! How often an address may fail to enrol. A token cannot be guessed; this keeps a stranger from making us
//! check signatures and write logs all day.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Failures an address may make at once: an operator's typing errors.
const BURST: u32 = 10;
/// One failure is forgiven every so often.
const FORGIVEN: Duration = Duration::from_secs(6);
/// Addresses remembered; beyond it the strangers share one account.
const ADDRESSES: usize = 4_096;

/// Failures by address.
#[derive(Debug, Default)]
pub struct Attempts {
    failures: HashMap<Option<IpAddr>, Failures>,
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    since: Instant,
}

impl Attempts {
    /// May this address try?
    pub fn may(&mut self, address: Option<IpAddr>, now: Instant) -> bool {
        let key = self.key(address);
        let Some(failures) = self.failures.get_mut(&key) else { return true };
        failures.forgive(now);
        failures.count < BURST
    }

    /// It tried and failed.
    pub fn failed(&mut self, address: Option<IpAddr>, now: Instant) {
        if self.failures.len() >= ADDRESSES {
            self.failures.retain(|_, failures| {
                failures.forgive(now);
                failures.count > 0
            });
        }
        let key = self.key(address);
        let failures = self.failures.entry(key).or_insert(Failures { count: 0, since: now });
        failures.forgive(now);
        failures.count = failures.count.saturating_add(1).min(BURST);
    }

    fn key(&self, address: Option<IpAddr>) -> Option<IpAddr> {
        let room = self.failures.len() < ADDRESSES || self.failures.contains_key(&address);
        address.filter(|_| room)
    }
}

impl Failures {
    fn forgive(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.since);
        let forgiven = u32::try_from(passed.as_secs() / FORGIVEN.as_secs()).unwrap_or(u32::MAX);
        if forgiven > 0 {
            self.count = self.count.saturating_sub(forgiven);
            self.since = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_fails_too_often_waits_and_others_do_not() {
        let (mut attempts, now) = (Attempts::default(), Instant::now());
        let (one, other) = (Some(IpAddr::from([10, 0, 0, 1])), Some(IpAddr::from([10, 0, 0, 2])));
        for _ in 0..BURST {
            assert!(attempts.may(one, now));
            attempts.failed(one, now);
        }
        assert!(!attempts.may(one, now));
        assert!(attempts.may(other, now));
        assert!(attempts.may(one, now + FORGIVEN));
    }

    #[test]
    fn many_addresses_share_one_account_and_not_our_memory() {
        let (mut attempts, now) = (Attempts::default(), Instant::now());
        for n in 0..20_000_u32 {
            attempts.failed(Some(IpAddr::from(n.to_be_bytes())), now);
        }
        assert!(attempts.failures.len() <= ADDRESSES + 1);
        assert!(!attempts.may(Some(IpAddr::from([200, 0, 0, 1])), now));
    }
}
