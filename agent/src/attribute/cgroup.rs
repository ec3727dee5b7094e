//! From a cgroup path to the unit, login session or container that it stands for.
//!
//! Only the first unit below the slices counts: whoever is delegated a subtree (a user manager, a container)
//! may name directories in it as they like, so a `nginx.service` deeper down proves nothing.

/// Bytes of `/proc/PID/cgroup` that are looked at: 14 hierarchies of PATH_MAX would be 56 KiB.
const TEXT: usize = 64 << 10;
/// Longest path kept.
const PATH: usize = 4096;
/// Hex digits of a container id.
const ID: usize = 64;

/// What a cgroup path says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Group {
    /// In the hierarchy that systemd or the runtime uses; "" when unknown.
    pub(super) path: String,
    /// "nginx.service"; "" = none.
    pub(super) unit: String,
    /// "session-4.scope"; "" = none.
    pub(super) session: String,
    /// Full id or name; "" = none.
    pub(super) container: String,
    /// "docker", "containerd", …; "" = none or unknown.
    pub(super) runtime: String,
}

/// Whether only the unified hierarchy is there, so that the kernel's cgroup id names the path that counts.
pub(super) fn is_unified(text: &[u8]) -> bool {
    let mut lines = text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    lines.next().is_some_and(|line| line.starts_with(b"0::")) && lines.next().is_none()
}

/// Reads `/proc/PID/cgroup`.
pub(super) fn parse(text: &[u8]) -> Group {
    let text = String::from_utf8_lossy(&text[..text.len().min(TEXT)]);
    let paths = text.lines().filter_map(hierarchy).collect::<Vec<_>>();
    let contained = paths.iter().find(|(_, path)| container(path).is_some());
    let named = paths.iter().filter(|(controllers, path)| {
        (controllers.is_empty() || *controllers == "name=systemd") && *path != "/"
    });
    let path =
        contained.or(named.min_by_key(|(controllers, _)| controllers.is_empty())).map(|(_, path)| *path);
    match path {
        Some(path) => of_path(path),
        None if paths.is_empty() => Group::default(),
        None => of_path("/"),
    }
}

/// Reads one path.
pub(super) fn of_path(path: &str) -> Group {
    let (runtime, container) = container(path).unwrap_or_default();
    let unit = unit(path).unwrap_or_default();
    let session = is_session(unit);
    Group {
        path: path.chars().take(PATH).collect(),
        unit: if session { String::new() } else { unit.to_owned() },
        session: if session { unit.to_owned() } else { String::new() },
        container: container.to_owned(),
        runtime: runtime.to_owned(),
    }
}

/// `id:controllers:path`; the path of a removed group has a suffix.
fn hierarchy(line: &str) -> Option<(&str, &str)> {
    let (_, rest) = line.split_once(':')?;
    let (controllers, path) = rest.split_once(':')?;
    path.starts_with('/').then(|| (controllers, path.strip_suffix(" (deleted)").unwrap_or(path)))
}

fn names(path: &str) -> impl DoubleEndedIterator<Item = &str> {
    // systemd puts `_` before a name that the kernel reserves.
    path.split('/').filter(|name| !name.is_empty()).map(|name| name.strip_prefix('_').unwrap_or(name))
}

fn unit(path: &str) -> Option<&str> {
    let first = names(path).find(|name| !name.ends_with(".slice"))?;
    let kinds = [".service", ".scope", ".socket", ".mount", ".swap"];
    kinds.iter().any(|kind| first.len() > kind.len() && first.ends_with(kind)).then_some(first)
}

fn is_session(unit: &str) -> bool {
    let id = unit.strip_prefix("session-").and_then(|rest| rest.strip_suffix(".scope"));
    id.is_some_and(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// Runtime and id, from the deepest name that has the shape of one.
fn container(path: &str) -> Option<(&str, &str)> {
    let names = names(path).collect::<Vec<_>>();
    (0..names.len()).rev().find_map(|at| {
        let above = at.checked_sub(1).and_then(|above| names.get(above)).copied().unwrap_or_default();
        shape(names[at], above, &names[..at])
    })
}

fn shape<'a>(name: &'a str, above: &str, all_above: &[&str]) -> Option<(&'static str, &'a str)> {
    const PREFIXES: [(&str, &str); 8] = [
        ("docker-", "docker"),
        ("cri-containerd-", "containerd"),
        ("nerdctl-", "containerd"),
        ("crio-", "cri-o"),
        ("libpod-payload-", "podman"),
        ("libpod-", "podman"),
        ("lxc.payload.", "lxc"),
        ("lxc-payload-", "lxc"),
    ];
    let stem = name.strip_suffix(".scope").unwrap_or(name);
    for (prefix, runtime) in PREFIXES {
        if let Some(id) = stem.strip_prefix(prefix) {
            // `crio-conmon-ID` and `libpod-conmon-ID` are the monitor on the host.
            let named = runtime == "lxc" && !id.is_empty();
            return (named || is_id(id)).then_some((runtime, id));
        }
    }
    // `kubepods-….slice:cri-containerd:ID`: containerd without systemd's driver.
    if let Some((rest, id)) = stem.rsplit_once(':') {
        let runtime = match rest.rsplit_once(':').map_or(rest, |(_, runtime)| runtime) {
            "cri-containerd" => "containerd",
            "crio" => "cri-o",
            _ => "",
        };
        return (!runtime.is_empty() && is_id(id)).then_some((runtime, id));
    }
    if let Some(name) = name.strip_suffix(".libvirt-lxc") {
        return (!name.is_empty()).then_some(("libvirt-lxc", name));
    }
    match above {
        "docker" if is_id(name) => Some(("docker", name)),
        "libpod_parent" | "libpod" if is_id(name) => Some(("podman", name)),
        "lxc" | "lxc.payload" => Some(("lxc", name)),
        // cgroupfs driver: the pod is named, the runtime is not.
        _ if is_id(name)
            && above.starts_with("pod")
            && all_above.iter().any(|name| name.contains("kubepods")) =>
        {
            Some(("", name))
        }
        _ => None,
    }
}

fn is_id(text: &str) -> bool {
    text.len() == ID && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEX: &str = "3f4f7d8c9b0a1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a6978879605";

    fn unit_of(path: &str) -> (String, String) {
        let group = of_path(path);
        (group.unit, group.session)
    }

    fn container_of(path: &str) -> (String, String) {
        let group = of_path(&path.replace("HEX", HEX));
        (group.runtime, group.container.replace(HEX, "HEX"))
    }

    #[test]
    fn units_and_sessions_are_read_from_systemds_paths() {
        for (path, unit, session) in [
            ("/system.slice/nginx.service", "nginx.service", ""),
            ("/system.slice/system-getty.slice/getty@tty1.service", "getty@tty1.service", ""),
            ("/user.slice/user-1001.slice/session-17.scope", "", "session-17.scope"),
            ("/user.slice/user-0.slice/session-c2.scope", "", "session-c2.scope"),
            ("/user.slice/user-1001.slice/user@1001.service/app.slice/foo.service", "user@1001.service", ""),
            ("/init.scope", "init.scope", ""),
            ("/system.slice/nginx.service/nginx.service", "nginx.service", ""),
            ("/system.slice/_cgroup.service", "cgroup.service", ""),
            ("/system.slice", "", ""),
            ("/", "", ""),
            ("/podruntime/kubelet", "", ""),
        ] {
            assert_eq!(unit_of(path), (unit.to_owned(), session.to_owned()), "{path}");
        }
    }

    #[test]
    fn a_delegated_subtree_cannot_pose_as_a_system_unit() {
        let forged = "/user.slice/user-1001.slice/user@1001.service/system.slice/nginx.service";
        assert_eq!(unit_of(forged).0, "user@1001.service");
        assert_eq!(unit_of("/user.slice/user-1.slice/user@1.service/session-9.scope").1, "");
    }

    #[test]
    fn containers_are_read_from_every_known_shape() {
        for (path, runtime, id) in [
            ("/system.slice/docker-HEX.scope", "docker", "HEX"),
            ("/docker/HEX", "docker", "HEX"),
            ("/docker/HEX/init.scope", "docker", "HEX"),
            (
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice/cri-containerd-HEX.scope",
                "containerd",
                "HEX",
            ),
            (
                "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod1.slice/cri-containerd-HEX.scope",
                "containerd",
                "HEX",
            ),
            (
                "/system.slice/containerd.service/kubepods-burstable-pod1.slice:cri-containerd:HEX",
                "containerd",
                "HEX",
            ),
            ("/kubepods/burstable/pod12ab-34/HEX", "", "HEX"),
            ("/kubepods.slice/kubepods-pod1.slice/crio-HEX.scope", "cri-o", "HEX"),
            ("/kubepods.slice/kubepods-pod1.slice/crio-HEX", "cri-o", "HEX"),
            ("/kubepods.slice/kubepods-pod1.slice/crio-conmon-HEX.scope", "", ""),
            ("/machine.slice/libpod-HEX.scope/container", "podman", "HEX"),
            ("/machine.slice/libpod-conmon-HEX.scope", "", ""),
            ("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-HEX.scope", "podman", "HEX"),
            (
                "/user.slice/user-1000.slice/user@1000.service/app.slice/x.service/libpod-payload-HEX",
                "podman",
                "HEX",
            ),
            ("/system.slice/nerdctl-HEX.scope", "containerd", "HEX"),
            ("/lxc.payload.web1", "lxc", "web1"),
            ("/lxc.payload.web1/system.slice/nginx.service", "lxc", "web1"),
            ("/lxc.monitor.web1", "", ""),
            ("/lxc/web1", "lxc", "web1"),
            ("/machine.slice/machine-x.libvirt-lxc", "libvirt-lxc", "machine-x"),
            ("/system.slice/docker.service", "", ""),
            ("/system.slice/docker-volume-netshare.service", "", ""),
            ("/podruntime/runtime", "", ""),
        ] {
            assert_eq!(container_of(path), (runtime.to_owned(), id.to_owned()), "{path}");
        }
    }

    #[test]
    fn the_hierarchy_that_says_something_is_taken() {
        let hybrid = b"9:name=systemd:/system.slice/cron.service\n4:memory:/system.slice/x\n0::/system.slice/cron.service\n";
        assert_eq!(parse(hybrid).unit, "cron.service");
        let v1_root = b"9:name=systemd:/\n4:memory:/process_api/97\n0::/\n";
        assert_eq!(parse(v1_root).path, "/");
        let docker = format!(
            "12:devices:/docker/{HEX}\n1:name=systemd:/docker/{HEX}\n0::/system.slice/containerd.service\n"
        );
        assert_eq!(parse(docker.as_bytes()).container, HEX);
        assert_eq!(parse(b"0::/system.slice/a.service (deleted)\n").unit, "a.service");
        assert_eq!(parse(b"0::/user.slice/user-1.slice/session-3.scope\n").session, "session-3.scope");
        assert_eq!(parse(b""), Group::default());
    }

    #[test]
    fn only_a_single_v2_line_is_unified() {
        assert!(is_unified(b"0::/x\n"));
        assert!(!is_unified(b"1:name=systemd:/\n0::/\n"));
        assert!(!is_unified(b""));
    }

    proptest! {
        #[test]
        fn hostile_bytes_give_a_bounded_answer(text in prop::collection::vec(any::<u8>(), 0..600)) {
            let group = parse(&text);
            prop_assert!(group.path.is_empty() || group.path.starts_with('/'));
        }

        #[test]
        fn hostile_paths_give_parts_of_themselves(path in "(/(\\PC{0,5}|docker-|lxc|:|a.service|[a-f0-9]{64}|x.slice|session-1.scope)){0,6}") {
            let group = of_path(&path);
            for part in [&group.unit, &group.session, &group.container] {
                prop_assert!(path.contains(part.as_str()));
            }
        }
    }
}
