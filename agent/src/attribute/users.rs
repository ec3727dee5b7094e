//! User names, from `/etc/passwd` alone.
//!
//! Directory services (LDAP, SSSD, systemd-homed) are not asked: their libraries block, and a look-up in the
//! stream would stop it. A uid that the file does not have stays a number.

use std::collections::HashMap;

/// Accounts read: a file with more is cut, and its later uids stay numbers.
const ACCOUNTS: usize = 100_000;
/// Longest name: what useradd accepts is 32.
const NAME: usize = 256;

/// Names by uid.
#[derive(Clone, Debug, Default)]
pub(super) struct Users {
    names: HashMap<u32, String>,
}

impl Users {
    /// Reads the text of a passwd file; a line that is not an account is passed over.
    pub(super) fn parse(text: &[u8]) -> Self {
        let mut names = HashMap::new();
        for line in text.split(|&byte| byte == b'\n').take(ACCOUNTS) {
            if let Some((uid, name)) = account(line) {
                // Of two names for one uid the first is meant: getpwuid does the same.
                names.entry(uid).or_insert(name);
            }
        }
        Self { names }
    }

    /// The name of a uid; "" when it is not known.
    pub(super) fn name(&self, uid: u32) -> &str {
        self.names.get(&uid).map_or("", String::as_str)
    }
}

fn account(line: &[u8]) -> Option<(u32, String)> {
    let line = std::str::from_utf8(line).ok()?;
    let mut fields = line.split(':');
    let name = fields.next().filter(|name| !name.is_empty() && name.len() <= NAME)?;
    let uid = fields.nth(1)?.parse().ok()?;
    (!name.chars().any(char::is_control)).then(|| (uid, name.to_owned()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn accounts_are_read_and_other_lines_passed_over() {
        let users = Users::parse(b"root:x:0:0:root:/root:/bin/bash\n# note\n+::::\ntoor:x:0:0::/:/bin/sh\nbob:x:1000:1000:Bob,,,:/home/bob:/bin/sh\nbad:x:-1:1::/:/x\n");
        assert_eq!((users.name(0), users.name(1000), users.name(7)), ("root", "bob", ""));
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(text in prop::collection::vec(any::<u8>(), 0..300)) {
            Users::parse(&text);
        }
    }
}
