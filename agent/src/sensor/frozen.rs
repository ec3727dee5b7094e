//! Maps that nobody in user space changes, this process included: the kernel is told so (BPF_MAP_FREEZE, since 5.2), and from
//! then on lets only programs write them. Who gets a descriptor of such a map cannot slip in by bpf(2) a verdict that says
//! "mutable" of a protected directory. A program of theirs could; that it is loaded is a `bpf` record.

use std::os::fd::AsFd;

use aya::Ebpf;
use aya::maps::{Map, MapData};

use crate::sys;

/// Those that are written from here, and the rings, whose readers move their positions. What the agent writes there is
/// compared with what is there, see `Sensor::mend_maps`; but for ASLEEP, which changes all the time and delays a record by a
/// second at most.
const WRITTEN: [&str; 10] =
    ["MARKS", "MARKED", "OWN", "WITNESS", "ASLEEP", "TOLD", "OVERFLOW", "LIFE", "PROTECTED", "ACTIVITY"];

/// Freezes all others: those that the kernel did not.
pub(super) fn freeze(ebpf: &Ebpf) -> Vec<String> {
    let others = ebpf.maps().filter(|(name, _)| !WRITTEN.contains(name) && !name.starts_with(GLOBALS));
    let open = others.filter_map(|(name, map)| {
        let error = match map {
            // Its reader moves its position.
            Map::RingBuf(_) => return None,
            map => sys::freeze(data(map)?.fd().as_fd()).err()?,
        };
        tracing::warn!("the map {name} is not frozen, others with the rights can change it: {error}");
        Some(name.to_owned())
    });
    open.collect()
}

/// How the names of maps of globals begin, which are frozen as they are loaded.
const GLOBALS: &str = ".";

/// Of the kinds that the sensor has.
pub(super) fn data(map: &Map) -> Option<&MapData> {
    match map {
        Map::Array(map)
        | Map::HashMap(map)
        | Map::LruHashMap(map)
        | Map::PerCpuArray(map)
        | Map::RingBuf(map) => Some(map),
        _ => None,
    }
}
