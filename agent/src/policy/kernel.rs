//! The verdict on mounts, kernel code, and what is done to the agent itself.

use graven_record::v1::{self, Severity, Subject, Verdict};

use super::Policy;
use super::certainty::{Certainty, with_certainty};
use super::judge::{alert, log};
use super::places::Class;

/// A mount over a protected place hides or replaces it; in a namespace of its own it does so only there, as every
/// container and many services do.
pub(super) fn mount(policy: &Policy, mount: &v1::Mount, certainty: Certainty) -> Verdict {
    let target = mount.target.as_ref().map_or(&[][..], |file| &file.path);
    let covered = match policy.places.nearest(target) {
        Some(place) if matches!(place.class, Class::Protect(_)) => Some(place),
        _ => policy.places.protected_below(target).filter(|_| covers(mount)),
    };
    match covered.map(|place| (place, place.class)) {
        _ if !mount.initial_namespace => log("", "in a mount namespace of its own"),
        Some((place, Class::Protect(severity))) => {
            let reason = format!("{} is protected and what lies there is another thing now", place.pattern);
            let reason = with_certainty(certainty, reason);
            alert(policy, severity, &place.rule, reason)
        }
        _ => log("", "not over a protected place"),
    }
}

/// Does this change what is seen below the target?
fn covers(mount: &v1::Mount) -> bool {
    use v1::MountKind::{Bind, Mount, Move, PivotRoot, Reconfigure, Remount, Unmount};
    matches!(mount.kind(), Mount | Bind | Move | Unmount | Remount | Reconfigure | PivotRoot)
}

/// Nobody but the service manager has anything to do with the agent's processes.
pub(super) fn tamper(
    policy: &Policy,
    subject: &Subject,
    tamper: &v1::Tamper,
    certainty: Certainty,
) -> Verdict {
    let manager = subject.process.as_ref().and_then(|process| process.id).is_some_and(|id| id.pid == 1);
    // Signal 0 asks whether a process is there.
    if tamper.operation == "signal" && (manager || tamper.number == 0) {
        return log("", "as the service manager does");
    }
    let reason = "the agent itself was acted on".to_owned();
    alert(policy, Severity::High, "", with_certainty(certainty, reason))
}

pub(super) fn module(policy: &Policy, module: &v1::Module, certainty: Certainty) -> Verdict {
    let reason = match module.operation.as_str() {
        "kexec" => "another kernel was prepared, which would run without these records",
        "unload" => "code of the kernel was removed",
        _ => return log("", "code of the kernel was loaded"),
    };
    alert(policy, Severity::High, "", with_certainty(certainty, reason.to_owned()))
}
