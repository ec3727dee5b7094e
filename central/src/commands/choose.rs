//! From the words of an operator to a query: which host, which kind, which times.

use super::CommandError;
use crate::cli::Filter;
use crate::query::{Kind, PathPattern, Query, time};
use crate::show;
use crate::store::HostRow;

/// Hosts named in a message: enough to choose from.
const NAMED: usize = 5;

/// A word names nothing here.
#[derive(Debug, thiserror::Error)]
pub enum ChooseError {
    /// No host at all.
    #[error(
        "no host is enrolled here yet: make a token with `graven enrol` and use it with `graven-agent enrol`"
    )]
    NoHosts,
    /// Not one of ours.
    #[error("no host is called {0}: `graven hosts` lists them")]
    UnknownHost(String),
    /// More than one.
    #[error("{word} is more than one host: {hosts}; give more of the id")]
    ManyHosts {
        /// What was typed.
        word: String,
        /// The first few that it names.
        hosts: String,
    },
    /// No time lies between.
    #[error("--until is before --since: give an earlier --since or a later --until")]
    Backwards,
    /// Not a kind.
    #[error("{0:?} is not a kind of record: give one of {kinds}", kinds = Kind::words())]
    UnknownKind(String),
}

/// The query that a filter means.
pub(super) fn query(
    filter: &Filter,
    until: Option<&str>,
    hosts: &[HostRow],
    now: i64,
) -> Result<Query, CommandError> {
    let chosen = filter.host.as_deref().map(|word| host(word, hosts)).transpose()?;
    query_of(filter, until, chosen, now)
}

/// As `query`, of a host that was chosen already: its word is not looked up a second time.
pub(super) fn query_of(
    filter: &Filter,
    until: Option<&str>,
    host: Option<&HostRow>,
    now: i64,
) -> Result<Query, CommandError> {
    let since = filter.since.as_deref().map(|text| time::point(text, now)).transpose()?.unwrap_or(i64::MIN);
    let until = until.map(|text| time::point(text, now)).transpose()?.unwrap_or(i64::MAX);
    if until < since {
        return Err(ChooseError::Backwards.into());
    }
    let kind = |word: &String| Kind::named(word).ok_or_else(|| ChooseError::UnknownKind(word.clone()));
    Ok(Query {
        since,
        until,
        host: host.map(|host| host.number),
        kind: filter.kind.as_ref().map(kind).transpose()?,
        user: filter.user.clone(),
        path: filter.path.as_deref().map(PathPattern::new).transpose()?,
        ..Query::default()
    })
}

/// A host by its id, its name, or a beginning of its id. A host chooses its name itself, so a name never wins
/// over an id, and a word that is one host's name and the beginning of another's id means neither.
pub(super) fn host<'a>(word: &str, hosts: &'a [HostRow]) -> Result<&'a HostRow, ChooseError> {
    if hosts.is_empty() {
        return Err(ChooseError::NoHosts);
    }
    let id = word.to_ascii_lowercase();
    if let Some(exact) = hosts.iter().find(|host| host.id.to_string() == id) {
        return Ok(exact);
    }
    let meant = |host: &&HostRow| host.hostname == word || host.id.to_string().starts_with(&id);
    let found: Vec<&HostRow> =
        if word.is_empty() { Vec::new() } else { hosts.iter().filter(meant).collect() };
    match found.as_slice() {
        [] => Err(ChooseError::UnknownHost(show::quoted(word))),
        [one] => Ok(one),
        many => Err(ChooseError::ManyHosts {
            word: show::quoted(word),
            hosts: many.iter().take(NAMED).map(|h| show::short_host(h)).collect::<Vec<_>>().join(", "),
        }),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use ed25519_dalek::SigningKey;
    use graven_record::id::HostId;

    use super::*;

    fn row(number: u8, id: u8, hostname: &str) -> HostRow {
        HostRow {
            number: number.into(),
            id: HostId([id; 32]),
            hostname: hostname.to_owned(),
            group: String::new(),
            start_key: SigningKey::from_bytes(&[number; 32]).verifying_key(),
            enrolled_at: 0,
            serial: Vec::new(),
            expires: 0,
            last_seen: None,
            heartbeat: None,
        }
    }

    #[test]
    fn a_host_is_found_by_name_or_by_a_beginning_that_only_it_has() {
        let hosts = [row(1, 0xab, "web"), row(2, 0xac, "db"), row(3, 0x11, "db")];
        assert_eq!(host("web", &hosts).unwrap().number, 1);
        assert_eq!(host("AC", &hosts).unwrap().number, 2);
        assert!(matches!(host("a", &hosts), Err(ChooseError::ManyHosts { .. })));
        assert!(matches!(host("db", &hosts), Err(ChooseError::ManyHosts { .. })));
        assert!(matches!(host("", &hosts), Err(ChooseError::UnknownHost(_))));
        assert!(
            matches!(host("\u{1b}[2J", &hosts), Err(ChooseError::UnknownHost(text)) if !text.contains('\u{1b}'))
        );
        assert!(matches!(host("web", &[]), Err(ChooseError::NoHosts)));
    }

    #[test]
    fn a_name_that_a_host_gave_itself_never_stands_for_another_hosts_id() {
        let victim = row(1, 0xab, "web");
        let id = victim.id.to_string();
        let posing = |name: &str| [row(1, 0xab, "web"), row(2, 0x11, name)];
        assert_eq!(host(&id, &posing(&id)).unwrap().number, 1);
        assert_eq!(host(&id.to_uppercase(), &posing(&id.to_uppercase())).unwrap().number, 1);
        let error = host(&id[..12], &posing(&id[..12])).unwrap_err().to_string();
        assert!(error.contains(&id[..12]) && error.contains("111111111111"), "{error}");
        assert_eq!(host("abab", &[row(1, 0xab, "abab")]).unwrap().number, 1);
    }

    #[test]
    fn an_unknown_kind_is_answered_with_the_known_ones() {
        let filter = Filter { kind: Some("opened".to_owned()), ..Filter::default() };
        let error = query(&filter, None, &[], 0).unwrap_err().to_string();
        assert!(error.contains("unlink"), "{error}");
    }
}
