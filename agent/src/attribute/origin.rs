//! How a process came to run, and which person stands behind it. Only what the kernel's own objects show is
//! said: a name that a process gave itself (comm, argv) is no evidence.

use graven_record::v1::{Evidence, Origin, Person};

use super::cgroup::Group;

/// Digits of a container id that people use.
const SHORT: usize = 12;

/// Where distributions keep programs; elsewhere anybody may call a file `sshd`.
const SYSTEM: [&[u8]; 4] = [b"/usr/", b"/bin/", b"/sbin/", b"/nix/store/"];
const SSH: [&[u8]; 4] = [b"sshd", b"sshd-session", b"sshd-auth", b"dropbear"];
const CRON: [&[u8]; 5] = [b"cron", b"crond", b"anacron", b"atd", b"fcron"];
const CONSOLE: [&[u8]; 5] = [b"login", b"agetty", b"getty", b"mingetty", b"sulogin"];

/// What decides the origin.
pub(super) struct Traces<'a> {
    pub(super) kernel_thread: bool,
    pub(super) group: &'a Group,
    /// Host paths of the ancestors' programs, nearest first.
    pub(super) ancestors: Vec<&'a [u8]>,
    pub(super) tty: &'a str,
}

/// How the process came to run.
pub(super) fn origin(traces: &Traces<'_>) -> Origin {
    if traces.kernel_thread {
        return Origin::Kernel;
    }
    if !traces.group.container.is_empty() {
        return Origin::Container;
    }
    let way_in = traces.ancestors.iter().find_map(|exe| way_in(exe, traces.tty));
    match way_in {
        Some(origin) => origin,
        None if !traces.group.session.is_empty() => Origin::Session,
        None if !traces.group.unit.is_empty() => Origin::Unit,
        None => Origin::Unknown,
    }
}

fn way_in(exe: &[u8], tty: &str) -> Option<Origin> {
    let exe = exe.strip_suffix(b" (deleted)").unwrap_or(exe);
    let name = exe.rsplit(|&byte| byte == b'/').next()?;
    if !SYSTEM.iter().any(|place| exe.starts_with(place)) {
        return None;
    }
    if SSH.contains(&name) {
        Some(Origin::Ssh)
    } else if CRON.contains(&name) {
        Some(Origin::Cron)
    } else if CONSOLE.contains(&name) && is_console(tty) {
        Some(Origin::Console)
    } else {
        None
    }
}

fn is_console(tty: &str) -> bool {
    ["tty", "console", "hvc", "ttyS", "ttyAMA"].iter().any(|start| tty.starts_with(start))
}

/// Who it was. `login_user` is the name of `loginuid`.
pub(super) fn person(traces: &Traces<'_>, loginuid: Option<u32>, login_user: &str) -> Person {
    if let Some(uid) = loginuid {
        let name = if login_user.is_empty() { format!("uid {uid}") } else { login_user.to_owned() };
        return Person {
            name,
            evidence: Evidence::Loginuid.into(),
            forgeable: true,
            reason: format!("loginuid {uid} is set; who set it is not checked"),
        };
    }
    Person { evidence: Evidence::None.into(), reason: nobody(traces), ..Person::default() }
}

fn nobody(traces: &Traces<'_>) -> String {
    let group = traces.group;
    if traces.kernel_thread {
        "no person: kernel thread".to_owned()
    } else if !group.container.is_empty() {
        format!("no person: container {}", group.container.chars().take(SHORT).collect::<String>())
    } else if !group.unit.is_empty() {
        format!("no person: {}", group.unit)
    } else {
        "no person: loginuid is not set".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::super::cgroup::of_path;
    use super::*;

    fn came(cgroup: &str, ancestors: &[&str], tty: &str) -> Origin {
        let group = of_path(cgroup);
        let ancestors = ancestors.iter().map(|exe| exe.as_bytes()).collect();
        origin(&Traces { kernel_thread: false, group: &group, ancestors, tty })
    }

    #[test]
    fn ancestry_and_cgroup_say_how_a_process_came_to_run() {
        let session = "/user.slice/user-1.slice/session-3.scope";
        assert_eq!(came(session, &["/usr/bin/bash", "/usr/sbin/sshd"], "pts/0"), Origin::Ssh);
        assert_eq!(came(session, &["/usr/bin/bash", "/usr/lib/openssh/sshd-session"], ""), Origin::Ssh);
        assert_eq!(came(session, &["/usr/sbin/sshd (deleted)"], ""), Origin::Ssh);
        assert_eq!(came(session, &["/usr/bin/bash", "/usr/bin/login"], "tty1"), Origin::Console);
        assert_eq!(came(session, &["/usr/bin/bash", "/usr/bin/login"], "pts/1"), Origin::Session);
        assert_eq!(came(session, &["/usr/bin/bash"], "pts/1"), Origin::Session);
        assert_eq!(
            came("/system.slice/cron.service", &["/usr/bin/dash", "/usr/sbin/cron"], ""),
            Origin::Cron
        );
        assert_eq!(came("/system.slice/nginx.service", &["/usr/lib/systemd/systemd"], ""), Origin::Unit);
        assert_eq!(came("/", &["/sbin/init"], ""), Origin::Unknown);
    }

    #[test]
    fn the_nearest_way_in_counts() {
        assert_eq!(came("/x", &["/usr/sbin/cron", "/usr/sbin/sshd"], ""), Origin::Cron);
    }

    #[test]
    fn a_program_that_calls_itself_sshd_is_not_believed() {
        assert_eq!(came("/", &["/tmp/sshd"], ""), Origin::Unknown);
        assert_eq!(came("/", &["/home/bob/usr/sbin/sshd"], ""), Origin::Unknown);
    }

    #[test]
    fn a_container_and_a_kernel_thread_come_first() {
        let docker = format!("/docker/{}", "ab".repeat(32));
        assert_eq!(came(&docker, &["/usr/sbin/sshd"], ""), Origin::Container);
        let traces = Traces { kernel_thread: true, group: &Group::default(), ancestors: Vec::new(), tty: "" };
        assert_eq!(origin(&traces), Origin::Kernel);
        assert_eq!(person(&traces, None, "").reason, "no person: kernel thread");
    }

    #[test]
    fn a_person_is_named_by_loginuid_and_marked_forgeable() {
        let group = of_path("/system.slice/nginx.service");
        let traces = Traces { kernel_thread: false, group: &group, ancestors: Vec::new(), tty: "" };
        let bob = person(&traces, Some(1000), "bob");
        assert_eq!((bob.name.as_str(), bob.evidence(), bob.forgeable), ("bob", Evidence::Loginuid, true));
        assert_eq!(person(&traces, Some(7), "").name, "uid 7");
        let nobody = person(&traces, None, "");
        assert_eq!((nobody.name.as_str(), nobody.evidence()), ("", Evidence::None));
        assert_eq!(nobody.reason, "no person: nginx.service");
    }
}
