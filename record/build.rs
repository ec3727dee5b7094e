//! Compiles the two schema files with protox, so that no protoc is needed.

use std::env;
use std::error::Error;
use std::path::PathBuf;

/// Where the records lie in the schema.
const PACKAGE: &str = "graven.record.v1";
/// The messages that records share: in their place they have a `Shared` of each.
const SHARED: [&str; 2] = ["Subject", "Verdict"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = protox::compile(["proto/record.proto", "proto/wire.proto"], ["proto"])?;

    // Their own code lies in a folder of its own; what it refers to lies where it always does.
    let mut shared = files.clone();
    shared.file.retain(|file| file.package() == PACKAGE);
    let folder = PathBuf::from(env::var_os("OUT_DIR").ok_or("no OUT_DIR")?).join("shared");
    std::fs::create_dir_all(&folder)?;
    let mut config = prost_build::Config::new();
    for file in &shared.file {
        let messages = file.message_type.iter().map(|message| message.name());
        let others = messages.chain(file.enum_type.iter().map(|one| one.name()));
        for name in others.filter(|name| !SHARED.contains(name)) {
            config.extern_path(format!(".{PACKAGE}.{name}"), format!("crate::v1::{name}"));
        }
    }
    config.out_dir(folder).compile_fds(shared)?;

    SHARED
        .iter()
        .fold(tonic_prost_build::configure(), |config, name| {
            config.extern_path(format!(".{PACKAGE}.{name}"), format!("crate::shared::Shared<{name}>"))
        })
        // A record has a dozen of these, the same as the record before.
        .bytes(".graven.record.v1.Process")
        .build_client(env::var_os("CARGO_FEATURE_CLIENT").is_some())
        .build_server(env::var_os("CARGO_FEATURE_SERVER").is_some())
        .emit_rerun_if_changed(false)
        .compile_fds(files)?;
    Ok(())
}
