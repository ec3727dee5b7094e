//! What is said once and not each time.

/// Trouble that lasts is said this often, ns.
const REPEAT: u64 = 60_000_000_000;

/// Trouble that is said when it changes, and once a minute while it lasts.
#[derive(Debug, Default)]
pub struct Repeated {
    said: Option<(String, u64)>,
}

impl Repeated {
    /// Is it to be said now?
    pub fn again(&mut self, what: String, now: u64) -> bool {
        let due =
            self.said.as_ref().is_none_or(|(said, at)| *said != what || now >= at.saturating_add(REPEAT));
        if due {
            self.said = Some((what, now));
        }
        due
    }

    /// Does it last?
    pub fn is_bad(&self) -> bool {
        self.said.is_some()
    }

    /// It is over.
    pub fn well(&mut self) {
        self.said = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_said_when_it_changes_and_once_a_minute() {
        let mut trouble = Repeated::default();
        assert!(!trouble.is_bad());
        let said: Vec<bool> = [("full", 1), ("full", 2), ("gone", 3), ("gone", REPEAT), ("gone", REPEAT + 3)]
            .map(|(what, now)| trouble.again(what.to_owned(), now))
            .into();
        assert_eq!(said, [true, false, true, false, true]);
        trouble.well();
        assert!(trouble.again("gone".to_owned(), REPEAT + 4));
    }
}
