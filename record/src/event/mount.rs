//! What stands at a place changed without a file being touched: mounts, swap, process accounting.

use crate::event::{View, file};
use crate::ocsf::{Activity, Object, Scene, class, word_of};
use crate::text::quoted;
use crate::v1::{File, Mount, MountKind, Outcome};

impl View for Mount {
    /// Mount is what makes other files stand at the target; what only changes a mount is an update.
    fn activity(&self) -> Activity {
        match self.kind() {
            MountKind::Mount | MountKind::Bind | MountKind::Move => class::FILE.activity(12, "Mount"),
            MountKind::Unmount => class::FILE.activity(13, "Unmount"),
            _ => class::FILE.activity(3, "Update"),
        }
    }

    fn verb(&self) -> &'static str {
        match self.kind() {
            MountKind::Unspecified => "change mounts",
            MountKind::Mount => "mount",
            MountKind::Remount => "remount",
            MountKind::Bind => "bind-mount",
            MountKind::Move => "move-mount",
            MountKind::Unmount => "unmount",
            MountKind::PivotRoot => "pivot-root",
            MountKind::Attributes => "mount-attributes",
            MountKind::Propagation => "mount-propagation",
            MountKind::Reconfigure => "reconfigure",
            MountKind::SwapOn => "swap-on",
            MountKind::SwapOff => "swap-off",
            MountKind::Accounting => "accounting",
        }
    }

    fn outcome(&self) -> Outcome {
        Outcome::try_from(self.outcome).unwrap_or_default()
    }

    fn files(&self) -> Vec<&File> {
        self.target.iter().collect()
    }

    /// A source that is a path is looked for as the target is: what lies there shows elsewhere now.
    fn paths(&self) -> Vec<&[u8]> {
        let target = self.target.as_ref().map(|file| file.path.as_slice()).unwrap_or_default();
        let source = Some(self.source.as_slice()).filter(|source| source.starts_with(b"/"));
        [target].into_iter().chain(source).collect()
    }

    fn detail(&self) -> String {
        let what = match self.kind() {
            MountKind::Mount => self.what(),
            MountKind::Bind | MountKind::Move => format!("of {}", self.origin()),
            _ => String::new(),
        };
        format!("{what}{}", self.elsewhere()).trim_start().to_owned()
    }

    fn sentence(&self, who: &str, _scene: &Scene<'_>) -> String {
        let (done, to_do, object) = self.words();
        file::act(who, self.outcome(), done, to_do, &format!("{object}{}", self.elsewhere()))
    }

    fn attributes(&self, scene: &Scene<'_>, out: &mut Object) {
        out.object("file", file::object_or_unknown(scene, "file", self.target.as_ref()));
    }

    fn unmapped(&self, scene: &Scene<'_>, out: &mut Object) {
        let mut mount = Object::new();
        mount.text("kind", &word_of("MOUNT_KIND_", self.kind().as_str_name()));
        mount.text("source", &scene.bytes("unmapped.mount.source", &self.source));
        mount.text("filesystem", &self.filesystem).put("flags", format!("{:#x}", self.flags));
        mount.number("namespace", self.namespace).put("initial_namespace", self.initial_namespace);
        out.object("mount", mount);
    }
}

impl Mount {
    /// What was done, what was to be done, and to what.
    fn words(&self) -> (&'static str, &'static str, String) {
        let target = file::shown_or_unknown(self.target.as_ref());
        match self.kind() {
            MountKind::Unspecified => ("changed", "change", format!("the mounts at {target}")),
            MountKind::Mount => ("mounted", "mount", format!("{} over {target}", self.what())),
            MountKind::Remount => ("remounted", "remount", format!("{target} with other options")),
            MountKind::Bind => ("bound", "bind", format!("{} over {target}", self.origin())),
            MountKind::Move => ("moved", "move", format!("the mount of {} to {target}", self.origin())),
            MountKind::Unmount => ("unmounted", "unmount", target),
            MountKind::PivotRoot => ("made", "make", format!("{target} the root of all paths")),
            MountKind::Attributes => {
                ("changed", "change", format!("the attributes of the mount at {target}"))
            }
            MountKind::Propagation => {
                ("changed", "change", format!("the propagation of the mount at {target}"))
            }
            MountKind::Reconfigure => ("reconfigured", "reconfigure", format!("the file system at {target}")),
            MountKind::SwapOn => ("turned on", "turn on", format!("swapping to {target}")),
            MountKind::SwapOff => ("turned off", "turn off", format!("swapping to {target}")),
            MountKind::Accounting if self.target.is_none() => {
                ("turned off", "turn off", "process accounting".into())
            }
            MountKind::Accounting => ("turned on", "turn on", format!("process accounting to {target}")),
        }
    }

    /// A container's own mounts change nothing for the host.
    fn elsewhere(&self) -> String {
        match (self.namespace, self.initial_namespace) {
            (0, _) | (_, true) => String::new(),
            (namespace, false) => format!(" in mount namespace {namespace}"),
        }
    }

    /// "tmpfs", "ext4 of /dev/sdb1": a file system without a device often repeats its type as its source.
    fn what(&self) -> String {
        let filesystem = quoted(self.filesystem.as_bytes());
        match (self.filesystem.as_str(), self.source.as_slice()) {
            ("", _) => self.origin(),
            (_, [] | b"none") => filesystem,
            (kind, source) if source == kind.as_bytes() => filesystem,
            (_, source) => format!("{filesystem} of {}", quoted(source)),
        }
    }

    fn origin(&self) -> String {
        match self.source.as_slice() {
            [] => "something that is not named".into(),
            source => quoted(source),
        }
    }
}
