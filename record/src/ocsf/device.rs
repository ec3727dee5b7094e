//! OCSF's `device`: the host.

use crate::id::BootId;
use crate::ocsf::{Object, Scene};

/// OCSF's numbers of a server and of Linux.
const SERVER: u32 = 1;
const LINUX: u32 = 200;

pub(crate) fn object(scene: &Scene<'_>) -> Object {
    let context = scene.envelope.context;
    let mut out = Object::new();
    out.put("type_id", SERVER).put("type", "Server");
    out.text("hostname", &context.hostname).put("uid", scene.envelope.host.to_string());
    out.put("boot_uid", scene.envelope.boot.to_string());
    // A machine id has the shape of a UUID without its dashes, as a boot id may have.
    let machine = context.machine_id.parse::<BootId>().ok();
    out.maybe("os_machine_uuid", machine.map(|id| id.to_string()));
    out.object("os", os(scene)).object("image", image(scene));
    out
}

fn os(scene: &Scene<'_>) -> Object {
    let context = scene.envelope.context;
    let name = if context.os_name.is_empty() { "Linux" } else { &context.os_name };
    let mut out = Object::new();
    out.put("name", name).put("type_id", LINUX).put("type", "Linux").text("kernel_release", &context.kernel);
    out
}

/// Which image the host runs, when it says so.
fn image(scene: &Scene<'_>) -> Object {
    let mut out = Object::new();
    let Some(image) = &scene.envelope.context.image else {
        return out;
    };
    let Some(uid) = [&image.id, &image.commit, &image.version].into_iter().find(|part| !part.is_empty())
    else {
        return out;
    };
    out.put("uid", uid.as_str()).text("name", &image.id).text("tag", &image.version);
    out.list("labels", (!image.commit.is_empty()).then(|| format!("commit={}", image.commit)));
    out
}
