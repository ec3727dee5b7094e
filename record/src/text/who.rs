//! Who did it, in a few words.

use crate::ocsf::actor;
use crate::text::quoted;
use crate::v1::{Record, Subject};

/// Digits of a container's id that people and tools use.
const SHORT_CONTAINER: usize = 12;

/// "alice (as root)", "root (nginx.service)", "the kernel"; "graven" for the logger's own records; "somebody" where nobody
/// can say who it was.
pub(crate) fn who(record: &Record) -> String {
    let Some(subject) = &record.subject else {
        return if actor::is_own(record) || record.event.is_none() { "graven" } else { "somebody" }.into();
    };
    let account = account(subject);
    match person(subject) {
        Some(person) if person == account => person,
        Some(person) => format!("{person} (as {account})"),
        None => match context(subject) {
            Some(context) => format!("{account} ({context})"),
            None => account,
        },
    }
}

/// The person, or the account that logged in.
fn person(subject: &Subject) -> Option<String> {
    let named = subject.person.as_ref().map(|p| p.name.as_str()).filter(|name| !name.is_empty());
    match (named, subject.loginuid) {
        (Some(name), _) => Some(quoted(name.as_bytes())),
        (None, Some(uid)) => Some(name_or_uid(&subject.login_user, uid)),
        (None, None) => None,
    }
}

/// The account whose rights were used.
fn account(subject: &Subject) -> String {
    if subject.process.as_ref().is_some_and(|p| p.kernel_thread) {
        return "the kernel".into();
    }
    let same = subject.effective_user.is_empty() && subject.euid == subject.uid;
    name_or_uid(if same { &subject.user } else { &subject.effective_user }, subject.euid)
}

fn name_or_uid(name: &str, uid: u32) -> String {
    if name.is_empty() { format!("uid {uid}") } else { quoted(name.as_bytes()) }
}

fn context(subject: &Subject) -> Option<String> {
    if !subject.container.is_empty() {
        let short: String = subject.container.chars().take(SHORT_CONTAINER).collect();
        return Some(format!("container {}", quoted(short.as_bytes())));
    }
    (!subject.unit.is_empty()).then(|| quoted(subject.unit.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::{Person, Process};

    fn words(subject: Subject) -> String {
        who(&Record { subject: Some(subject.into()), ..Record::default() })
    }

    #[test]
    fn the_person_comes_before_the_account() {
        let person = Some(Person { name: "alice".into(), ..Person::default() });
        assert_eq!(words(Subject { person: person.clone(), ..Subject::default() }), "alice (as uid 0)");
        let alice = Subject { person, uid: 1000, euid: 1000, user: "alice".into(), ..Subject::default() };
        assert_eq!(words(alice), "alice");
    }

    #[test]
    fn a_login_without_a_person_is_named_by_its_account() {
        let sudo = Subject { loginuid: Some(1000), effective_user: "root".into(), ..Subject::default() };
        assert_eq!(words(sudo), "uid 1000 (as root)");
    }

    #[test]
    fn without_a_person_it_is_the_unit_the_container_or_the_kernel() {
        let root = Subject { user: "root".into(), ..Subject::default() };
        assert_eq!(words(Subject { unit: "nginx.service".into(), ..root.clone() }), "root (nginx.service)");
        let container = Subject { container: "0123456789abcdef".into(), ..root.clone() };
        assert_eq!(words(container), "root (container 0123456789ab)");
        let thread = Process { kernel_thread: true, ..Process::default() };
        assert_eq!(words(Subject { process: Some(thread), ..root }), "the kernel");
    }

    #[test]
    fn the_logger_speaks_for_itself() {
        assert_eq!(who(&Record::default()), "graven");
    }
}
