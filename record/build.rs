//! Compiles the two schema files with protox, so that no protoc is needed.

use std::env;
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = protox::compile(["proto/record.proto", "proto/wire.proto"], ["proto"])?;
    tonic_prost_build::configure()
        // A record has a dozen of these, the same as the record before.
        .bytes(".graven.record.v1.Process")
        .build_client(env::var_os("CARGO_FEATURE_CLIENT").is_some())
        .build_server(env::var_os("CARGO_FEATURE_SERVER").is_some())
        .emit_rerun_if_changed(false)
        .compile_fds(files)?;
    Ok(())
}
