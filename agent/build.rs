//! Embeds the sensor, in its three builds. It is compiled by another compiler, so it must be there already.

use std::path::Path;

fn main() {
    let objects = [
        ("GRAVEN_SENSOR", concat!(env!("CARGO_MANIFEST_DIR"), "/../target/sensor/graven-sensor.o")),
        ("GRAVEN_SENSOR_CAST", concat!(env!("CARGO_MANIFEST_DIR"), "/../target/sensor/graven-sensor-cast.o")),
        (
            "GRAVEN_SENSOR_COUNTED",
            concat!(env!("CARGO_MANIFEST_DIR"), "/../target/sensor/graven-sensor-counted.o"),
        ),
    ];
    for (variable, sensor) in objects {
        println!("cargo::rerun-if-changed={sensor}");
        if !Path::new(sensor).is_file() {
            println!("cargo::error=the sensor is not built yet: run `cargo xtask build`");
            return;
        }
        println!("cargo::rustc-env={variable}={sensor}");
    }
}
