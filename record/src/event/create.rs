//! A directory, node, link or socket was made, or a file by another way than an open.

use crate::event::{View, file};
use crate::ocsf::{Activity, Object, Scene, class, word_of};
use crate::text::quoted;
use crate::v1::{Create, CreateKind, File, Outcome};

impl View for Create {
    fn activity(&self) -> Activity {
        class::FILE.activity(1, "Create")
    }

    fn verb(&self) -> &'static str {
        match self.kind() {
            CreateKind::Unspecified | CreateKind::File => "create",
            CreateKind::Directory => "mkdir",
            CreateKind::Node => "mknod",
            CreateKind::Symlink => "symlink",
            CreateKind::Link => "link",
            CreateKind::Socket => "create socket",
            CreateKind::Pin => "pin",
        }
    }

    fn outcome(&self) -> Outcome {
        Outcome::try_from(self.outcome).unwrap_or_default()
    }

    fn folded(&self) -> u32 {
        self.folded
    }

    /// A hard link is about its old name too: what is protected under that one is at the new one as well.
    fn files(&self) -> Vec<&File> {
        self.file.iter().flat_map(|file| [Some(file), self.from.as_ref()]).flatten().collect()
    }

    fn detail(&self) -> String {
        match self.target.as_slice() {
            [] => String::new(),
            target => format!("to {}", quoted(target)),
        }
    }

    fn sentence(&self, who: &str, _scene: &Scene<'_>) -> String {
        let path = file::shown_or_unknown(self.file.as_ref());
        let (done, to_do, object) = match self.kind() {
            CreateKind::Unspecified => ("created", "create", path),
            CreateKind::File => ("created", "create", format!("file {path}")),
            CreateKind::Directory => ("created", "create", format!("directory {path}")),
            CreateKind::Node => ("created", "create", format!("special file {path}")),
            CreateKind::Socket => ("created", "create", format!("socket {path}")),
            CreateKind::Pin => ("pinned", "pin", format!("a BPF object as {path}")),
            CreateKind::Symlink => match self.target.as_slice() {
                [] => ("created", "create", format!("symbolic link {path}")),
                target => ("created", "create", format!("symbolic link {path} to {}", quoted(target))),
            },
            CreateKind::Link => {
                let from = file::shown_or_unknown(self.from.as_ref());
                ("created", "create", format!("{path} as another name of {from}"))
            }
        };
        file::act(who, self.outcome(), done, to_do, &object)
    }

    fn attributes(&self, scene: &Scene<'_>, out: &mut Object) {
        out.object("file", file::object_or_unknown(scene, "file", self.file.as_ref()));
    }

    fn unmapped(&self, scene: &Scene<'_>, out: &mut Object) {
        let mut create = Object::new();
        create.text("kind", &word_of("CREATE_KIND_", self.kind().as_str_name()));
        create.text("target", &scene.bytes("unmapped.create.target", &self.target));
        if let Some(from) = &self.from {
            let mut object = Object::new();
            object.text("path", &scene.bytes("unmapped.create.from.path", &from.path));
            object.append(file::rest(scene, "unmapped.create.from", from));
            create.object("from", object);
        }
        out.object("create", create);
    }
}
