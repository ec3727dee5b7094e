//! Embeds the sensor. It is compiled by another compiler, so it must be there already.

use std::path::Path;

fn main() {
    let sensor = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/sensor/graven-sensor.o");
    println!("cargo::rerun-if-changed={sensor}");
    if !Path::new(sensor).is_file() {
        println!("cargo::error=the sensor is not built yet: run `cargo xtask build`");
        return;
    }
    println!("cargo::rustc-env=GRAVEN_SENSOR={sensor}");
}
