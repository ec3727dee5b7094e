//! The user that `ship` runs as.

use std::fs::File;
use std::io::{self, Read};

/// Where local users are. Only these count: asking a directory service would need the network before the
/// process that may use it exists.
const PASSWD: &str = "/etc/passwd";
/// Most bytes of it that are read.
const MAX_PASSWD: u64 = 4 << 20;
/// Who it is when the configured one does not exist.
const NOBODY: User = User { uid: 65_534, gid: 65_534 };

/// A user without rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    /// Never 0.
    pub uid: u32,
    /// Its first group.
    pub gid: u32,
}

impl User {
    /// The user of a name or number; nobody when there is none, or when it is root.
    pub fn find(name: &str) -> io::Result<Self> {
        let mut text = Vec::new();
        File::open(PASSWD)?.take(MAX_PASSWD).read_to_end(&mut text)?;
        Ok(Self::find_in(&String::from_utf8_lossy(&text), name))
    }

    fn find_in(passwd: &str, name: &str) -> Self {
        let number: Option<u32> = name.parse().ok();
        let known = passwd.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let [own, _, uid, gid, ..] = fields.as_slice() else { return None };
            let user = Self { uid: uid.parse().ok()?, gid: gid.parse().ok()? };
            (*own == name || number == Some(user.uid)).then_some(user)
        });
        let user = known.or(number.map(|uid| Self { uid, gid: uid }));
        user.filter(|user| user.uid != 0 && user.gid != 0).unwrap_or(NOBODY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "root:x:0:0::/root:/bin/sh\n+bad\ngraven-ship:x:991:990::/:/bin/false\n";

    #[test]
    fn a_user_is_found_by_name_and_by_number() {
        let own = User { uid: 991, gid: 990 };
        assert_eq!(User::find_in(TEXT, "graven-ship"), own);
        assert_eq!(User::find_in(TEXT, "991"), own);
        assert_eq!(User::find_in(TEXT, "1234"), User { uid: 1234, gid: 1234 });
    }

    #[test]
    fn whoever_does_not_exist_or_is_root_is_nobody() {
        for name in ["missing", "root", "0", ""] {
            assert_eq!(User::find_in(TEXT, name), NOBODY);
        }
    }
}
