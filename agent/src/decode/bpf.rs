//! `bpf`

use graven_abi::event::bpf::Bpf;

use super::observed::Event;
use super::tail::Tail;
use super::{DecodeError, outcome_of, until_nul};

/// `enum bpf_prog_type` (linux/bpf.h), from 0.
const PROGRAM_TYPES: [&str; 33] = [
    "unspecified",
    "socket-filter",
    "kprobe",
    "sched-cls",
    "sched-act",
    "tracepoint",
    "xdp",
    "perf-event",
    "cgroup-skb",
    "cgroup-sock",
    "lwt-in",
    "lwt-out",
    "lwt-xmit",
    "sock-ops",
    "sk-skb",
    "cgroup-device",
    "sk-msg",
    "raw-tracepoint",
    "cgroup-sock-addr",
    "lwt-seg6local",
    "lirc-mode2",
    "sk-reuseport",
    "flow-dissector",
    "cgroup-sysctl",
    "raw-tracepoint-writable",
    "cgroup-sockopt",
    "tracing",
    "struct-ops",
    "ext",
    "lsm",
    "sk-lookup",
    "syscall",
    "netfilter",
];

pub(super) fn decode(event: Bpf, _tail: &mut Tail<'_>) -> Result<Event, DecodeError> {
    let loads = event.command == 5;
    let program_type = PROGRAM_TYPES.get(event.program_type as usize).filter(|_| loads);
    Ok(Event::Bpf {
        command: command(event.command),
        number: event.command,
        program_type: program_type.copied().unwrap_or_default(),
        name: until_nul(&event.name).to_vec(),
        outcome: outcome_of(event.outcome)?,
    })
}

/// `enum bpf_cmd` (linux/bpf.h), of those that the sensor records.
fn command(number: u32) -> &'static str {
    match number {
        5 => "prog-load",
        8 => "prog-attach",
        9 => "prog-detach",
        17 => "raw-tracepoint-open",
        28 => "link-create",
        29 => "link-update",
        34 => "link-detach",
        _ => "",
    }
}
