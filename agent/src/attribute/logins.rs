//! Who set a process's login user, and when: `task.loginuid` differs from what the process was born with.
//!
//! No tracepoint shows the write to `/proc/self/loginuid` itself; the kernel lets only the task set its own
//! (audit_set_loginuid), so the next word of that process names the setter. Life events are enough: a login program
//! forks or starts a shell, and every process ends.

use std::collections::HashMap;

use crate::decode::observed::{Event, Observed, Task};

/// Processes remembered; beyond it nothing new is, and a login of such a process is not told: pid_max is 32,768 by
/// default.
const PROCESSES: usize = 65_536;

/// Programs of the image that log people in, by name (pam_loginuid(8)).
const PROGRAMS: [&[u8]; 14] = [
    b"sshd",
    b"sshd-session",
    b"login",
    b"cron",
    b"crond",
    b"atd",
    b"systemd",
    b"systemd-executor",
    b"gdm-session-worker",
    b"lightdm",
    b"sddm-helper",
    b"vsftpd",
    b"remote",
    b"kdm",
];
/// Where an image has them.
const FOLDERS: [&[u8]; 7] =
    [b"/usr/sbin/", b"/usr/bin/", b"/sbin/", b"/bin/", b"/usr/lib/", b"/usr/libexec/", b"/lib/"];

/// A login user that was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) before: Option<u32>,
    pub(super) after: Option<u32>,
}

/// What each process's login user was at its last life event.
#[derive(Debug, Default)]
pub(super) struct Logins {
    known: HashMap<(u32, u64), Option<u32>>,
}

impl Logins {
    /// Has the process that this is about set its login user since its last life event?
    pub(super) fn follow(&mut self, seen: &Observed) -> Option<Login> {
        let task = &seen.task;
        match &seen.event {
            Event::Fork { child } => {
                let login = self.compare(task);
                self.insert((child.pid, child.start), task.loginuid);
                login
            }
            Event::Exec { .. } => self.compare(task),
            Event::Exit { .. } => {
                let login = self.compare(task);
                self.known.remove(&(task.id.pid, task.id.start));
                login
            }
            _ => None,
        }
    }

    fn compare(&mut self, task: &Task) -> Option<Login> {
        let process = (task.id.pid, task.id.start);
        match self.known.get_mut(&process) {
            Some(known) => {
                let before = std::mem::replace(known, task.loginuid);
                (before != task.loginuid).then_some(Login { before, after: task.loginuid })
            }
            None => {
                self.insert(process, task.loginuid);
                None
            }
        }
    }

    fn insert(&mut self, process: (u32, u64), loginuid: Option<u32>) {
        if self.known.len() < PROCESSES {
            self.known.insert(process, loginuid);
        }
    }
}

/// Is this a login program of the image? Anybody with CAP_AUDIT_CONTROL can set a login user.
pub(super) fn is_login_program(exe: &[u8]) -> bool {
    let name = exe.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    PROGRAMS.contains(&name) && FOLDERS.iter().any(|folder| exe.starts_with(folder))
}

#[cfg(test)]
mod tests {
    use graven_record::v1::Ring;

    use super::*;
    use crate::decode::observed::{Cause, ExecId};

    fn seen(pid: u32, loginuid: Option<u32>, event: Event) -> Observed {
        let id = ExecId { pid, start: u64::from(pid), exec: 1 };
        let task = Task { id, loginuid, ..Task::default() };
        Observed { at: 1, cpu: 0, ring: Ring::Life, sequence: 0, cause: Cause::default(), task, event }
    }

    fn fork(child: u32) -> Event {
        Event::Fork { child: ExecId { pid: child, start: u64::from(child), exec: 1 } }
    }

    #[test]
    fn the_one_that_sets_it_is_named_and_its_children_are_not() {
        let mut logins = Logins::default();
        assert_eq!(logins.follow(&seen(1, None, fork(2))), None, "an old process is learnt");
        assert_eq!(
            logins.follow(&seen(2, Some(1000), fork(3))),
            Some(Login { before: None, after: Some(1000) })
        );
        assert_eq!(logins.follow(&seen(3, Some(1000), fork(4))), None);
        assert_eq!(logins.follow(&seen(3, Some(1000), Event::Exit { status: 0 })), None);
        let changed = logins.follow(&seen(4, Some(0), Event::Exit { status: 0 }));
        assert_eq!(changed, Some(Login { before: Some(1000), after: Some(0) }));
    }

    #[test]
    fn only_login_programs_of_the_image_are_trusted() {
        assert!(is_login_program(b"/usr/sbin/sshd") && is_login_program(b"/usr/lib/systemd/systemd"));
        assert!(
            !is_login_program(b"/tmp/sshd") && !is_login_program(b"/usr/bin/bash") && !is_login_program(b"")
        );
    }
}
