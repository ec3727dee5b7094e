//! Records as no honest host would write them.

use graven_record::v1::{self, record::Event};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn bytes() -> BoxedStrategy<Vec<u8>> {
    prop_oneof![vec(any::<u8>(), 0..40), "/[a-z/]{0,20}".prop_map(String::into_bytes), Just(Vec::new())]
        .boxed()
}

fn text() -> BoxedStrategy<String> {
    prop_oneof![any::<String>(), Just(String::new()), "[a-z]{1,8}"].boxed()
}

/// Numbers of an enum, and others.
fn number() -> BoxedStrategy<i32> {
    prop_oneof![0..10, any::<i32>()].boxed()
}

fn run() -> BoxedStrategy<v1::ExecId> {
    (any::<u32>(), any::<u64>(), any::<u32>())
        .prop_map(|(pid, start, exec)| v1::ExecId { pid, start, exec })
        .boxed()
}

fn process() -> BoxedStrategy<v1::Process> {
    (option::of(run()), bytes(), bytes(), any::<u64>(), any::<u64>(), any::<bool>(), 0_u32..6, any::<bool>())
        .prop_map(|(id, exe, comm, exe_device, exe_inode, kernel_thread, arguments, arguments_cut)| {
            let (exe, comm) = (exe.into(), comm.into());
            v1::Process { id, exe, comm, exe_device, exe_inode, kernel_thread, arguments, arguments_cut }
        })
        .boxed()
}

fn person() -> BoxedStrategy<v1::Person> {
    (text(), number(), any::<bool>(), text())
        .prop_map(|(name, evidence, forgeable, reason)| v1::Person { name, evidence, forgeable, reason })
        .boxed()
}

fn subject() -> BoxedStrategy<v1::Subject> {
    let task = (option::of(process()), any::<u32>(), vec(process(), 0..40), any::<bool>(), vec(0_u32.., 5));
    let login = (option::of(any::<u32>()), option::of(any::<u32>()), option::of(person()), number());
    (task, login, vec(text(), 9))
        .prop_map(|(task, login, words)| {
            let (process, thread, ancestors, ancestors_cut, ids) = task;
            let (loginuid, session, person, origin) = login;
            let [
                user,
                effective_user,
                login_user,
                tty,
                cgroup,
                unit,
                session_scope,
                container,
                container_runtime,
            ] = <[String; 9]>::try_from(words).unwrap();
            v1::Subject {
                process,
                thread,
                ancestors,
                ancestors_cut,
                uid: ids[0],
                gid: ids[1],
                euid: ids[2],
                egid: ids[3],
                user,
                effective_user,
                loginuid,
                login_user,
                session,
                tty,
                cgroup,
                unit,
                session_scope,
                container,
                container_runtime,
                origin,
                person,
                fsuid: ids[4],
            }
        })
        .boxed()
}

fn file() -> BoxedStrategy<Option<v1::File>> {
    let names = (bytes(), number(), vec(bytes(), 0..4), any::<bool>(), text());
    let stat = (any::<u64>(), any::<u64>(), vec(any::<u32>(), 4), any::<u64>(), any::<u32>());
    option::weighted(
        0.9,
        (names, stat).prop_map(|(names, stat)| {
            let (path, path_source, aliases, cut, filesystem) = names;
            let (device, inode, ids, size, links) = stat;
            v1::File {
                path,
                path_source,
                device,
                inode,
                generation: ids[0],
                mode: ids[1],
                uid: ids[2],
                gid: ids[3],
                size,
                links,
                aliases,
                cut,
                filesystem,
            }
        }),
    )
    .boxed()
}

fn change() -> BoxedStrategy<Event> {
    let three = (any::<bool>(), any::<bool>(), any::<bool>());
    let owner = (option::of(any::<u32>()), option::of(any::<u32>()), option::of(any::<u32>()));
    prop_oneof![
        (file(), number(), three, any::<u32>(), any::<u32>()).prop_map(
            |(file, outcome, (created, truncated, writable), flags, folded)| {
                Event::Open(v1::Open {
                    file,
                    outcome,
                    created,
                    truncated,
                    flags,
                    writable,
                    folded,
                    node_device: u64::from(flags),
                })
            }
        ),
        (file(), prop_oneof![text(), Just("write".to_owned())], any::<i32>(), any::<bool>(), number())
            .prop_map(|(file, operation, syscall, via_kernel, outcome)| Event::Modify(v1::Modify {
                file,
                operation,
                syscall,
                via_kernel,
                outcome
            })),
        (file(), number(), number(), file(), bytes(), any::<u32>()).prop_map(
            |(file, outcome, kind, from, target, folded)| {
                Event::Create(v1::Create { file, outcome, kind, from, target, folded })
            }
        ),
        (file(), number(), any::<u32>()).prop_map(|(file, outcome, folded)| Event::Unlink(v1::Unlink {
            file,
            outcome,
            folded
        })),
        (file(), file(), file(), any::<bool>(), number(), any::<u32>()).prop_map(
            |(from, to, replaced, exchange, outcome, folded)| {
                Event::Rename(v1::Rename { from, to, replaced, exchange, outcome, folded })
            }
        ),
        (file(), number(), number(), owner, xattr(), any::<u64>(), any::<u32>()).prop_map(
            |(file, outcome, kind, (mode, uid, gid), name, flags, folded)| {
                Event::Attr(v1::Attr { file, outcome, kind, mode, uid, gid, name, flags, folded })
            }
        ),
        (file(), number(), any::<u32>()).prop_map(|(file, outcome, folded)| Event::Truncate(v1::Truncate {
            file,
            outcome,
            folded
        })),
        (file(), number(), any::<bool>()).prop_map(|(file, outcome, executable)| Event::Mmap(v1::Mmap {
            file,
            outcome,
            executable
        })),
    ]
    .boxed()
}

/// Names of extended attributes, some of which say who may do what.
fn xattr() -> BoxedStrategy<Vec<u8>> {
    prop_oneof![bytes(), "(security|trusted|user)\\.[a-z]{0,8}".prop_map(String::into_bytes)].boxed()
}

fn exec() -> BoxedStrategy<Event> {
    let names = (bytes(), bytes(), bytes(), bytes(), bytes());
    (file(), names, any::<bool>(), any::<bool>(), option::of(run()))
        .prop_map(|(file, names, memfd, deleted, before)| {
            let (called_as, interpreter, cwd, script, loaded) = names;
            Event::Exec(v1::Exec {
                file,
                called_as,
                interpreter,
                memfd,
                deleted,
                before,
                cwd,
                script,
                loaded,
            })
        })
        .boxed()
}

/// A word that the record's words have a sentence for, or any.
fn operation() -> BoxedStrategy<String> {
    let known = prop::sample::select(vec![
        "load",
        "unload",
        "kexec",
        "prog-load",
        "link-create",
        "obj-pin",
        "signal",
        "ptrace",
        "process_vm_writev",
    ]);
    prop_oneof![text(), known.prop_map(str::to_owned)].boxed()
}

/// What acts on the host as a whole.
fn host() -> BoxedStrategy<Event> {
    prop_oneof![
        (number(), number(), file(), bytes(), text(), any::<u64>(), any::<u32>(), any::<bool>()).prop_map(
            |(kind, outcome, target, source, filesystem, flags, namespace, initial_namespace)| {
                Event::Mount(v1::Mount {
                    kind,
                    outcome,
                    target,
                    source,
                    filesystem,
                    flags,
                    namespace,
                    initial_namespace,
                })
            }
        ),
        (option::of(any::<u32>()), any::<u32>(), text(), any::<u32>(), any::<bool>()).prop_map(
            |(before, loginuid, user, session, forgeable)| {
                Event::Login(v1::Login { before, loginuid, user, session, forgeable })
            }
        ),
        (operation(), bytes(), file(), number()).prop_map(|(operation, name, file, outcome)| {
            Event::Module(v1::Module { operation, name, file, outcome })
        }),
        (operation(), any::<u32>(), text(), bytes(), number()).prop_map(
            |(command, number, program_type, name, outcome)| {
                Event::Bpf(v1::Bpf { command, number, program_type, name, outcome })
            }
        ),
        (operation(), 0_u32..40, any::<u32>(), number()).prop_map(|(operation, number, target, outcome)| {
            Event::Tamper(v1::Tamper { operation, number, target, outcome })
        }),
    ]
    .boxed()
}

fn hooks() -> BoxedStrategy<Vec<v1::Hook>> {
    vec(
        (text(), any::<bool>(), text(), number()).prop_map(|(name, attached, reason, canary)| v1::Hook {
            name,
            attached,
            reason,
            canary,
        }),
        0..4,
    )
    .boxed()
}

fn counters() -> BoxedStrategy<Option<v1::Counters>> {
    option::of(vec(any::<u64>(), 7).prop_map(|n| v1::Counters {
        seen: n[0],
        stored: n[1],
        lost: n[2],
        ignored: n[3],
        unrecorded: n[4],
        folded: n[5],
        refused: n[6],
    }))
    .boxed()
}

fn policy() -> BoxedStrategy<Option<v1::Policy>> {
    option::of(
        (text(), text(), text(), bytes(), number()).prop_map(|(name, version, commit, hash, trust)| {
            v1::Policy { name, version, commit, hash, trust }
        }),
    )
    .boxed()
}

fn own() -> BoxedStrategy<Event> {
    prop_oneof![
        (any::<i32>(), any::<u64>()).prop_map(|(status, lived)| Event::Exit(v1::Exit { status, lived })),
        (number(), any::<i64>())
            .prop_map(|(entry, number)| Event::Uncovered(v1::Uncovered { entry, number })),
        (text(), any::<u64>(), text(), vec(any::<u64>(), 3), bytes(), text()).prop_map(
            |(kind, count, hook, times, directory, event)| Event::Lost(v1::Lost {
                kind,
                count,
                hook,
                since: times[0],
                directory,
                first: times[1],
                last: times[2],
                event
            })
        ),
        (bytes(), bytes())
            .prop_map(|(statement, signature)| Event::EpochStart(v1::EpochStart { statement, signature })),
        (
            hooks(),
            vec(text(), 0..3),
            bytes(),
            any::<u64>(),
            (text(), text(), bytes(), any::<u64>(), any::<bool>())
        )
            .prop_map(
                |(
                    hooks,
                    uncovered,
                    agent_hash,
                    processes_seeded,
                    (witness, preemption, sensor_hash, late, stays),
                )| {
                    Event::Start(v1::Start {
                        hooks,
                        uncovered,
                        agent_hash,
                        processes_seeded,
                        witness,
                        preemption,
                        sensor_hash,
                        late,
                        stays,
                    })
                }
            ),
        (text(), text(), any::<bool>(), any::<u64>()).prop_map(|(hook, reason, attached_again, since)| {
            Event::ProbeSilent(v1::ProbeSilent { hook, reason, attached_again, since })
        }),
        (text(), text(), any::<u64>(), any::<bool>()).prop_map(|(map, change, since, restored)| {
            Event::MapChanged(v1::MapChanged { map, change, since, restored })
        }),
        (any::<u64>(), any::<u64>()).prop_map(|(since, lasted)| Event::Paused(v1::Paused { since, lasted })),
        (text(), counters()).prop_map(|(reason, counters)| Event::Stop(v1::Stop { reason, counters })),
        any::<i64>().prop_map(|step| Event::Clock(v1::Clock { step })),
        (policy(), policy(), text()).prop_map(|(before, after, refused)| Event::PolicyChange(
            v1::PolicyChange { before, after, refused }
        )),
    ]
    .boxed()
}

fn verdict() -> BoxedStrategy<v1::Verdict> {
    (number(), number(), text(), text())
        .prop_map(|(decision, severity, rule, reason)| v1::Verdict { decision, severity, rule, reason })
        .boxed()
}

/// Any record, of any kind or none.
pub(crate) fn record() -> BoxedStrategy<v1::Record> {
    let numbers = (any::<u64>(), any::<u64>(), any::<u64>());
    let source = (any::<u32>(), number(), any::<u64>(), number(), text()).prop_map(
        |(cpu, ring, ring_sequence, entry, call)| v1::Source {
            cpu,
            ring,
            ring_sequence,
            entry,
            call,
            error: cpu % 40,
        },
    );
    let event = option::weighted(0.95, prop_oneof![change(), exec(), host(), own()]);
    (numbers, option::weighted(0.8, subject()), option::weighted(0.8, verdict()), option::of(source), event)
        .prop_map(|((sequence, time, boot_time), subject, verdict, source, event)| v1::Record {
            sequence,
            time,
            boot_time,
            subject: subject.map(Into::into),
            verdict: verdict.map(Into::into),
            source,
            event,
        })
        .boxed()
}

/// Any context.
pub(crate) fn context() -> BoxedStrategy<v1::Context> {
    let image = (text(), text(), text()).prop_map(|(id, version, commit)| v1::Image { id, version, commit });
    let machine = prop_oneof![text(), "[0-9a-f]{32}"];
    (text(), text(), text(), number(), option::of(image), policy(), machine, text())
        .prop_map(|(hostname, kernel, agent_version, mode, image, policy, machine_id, os_name)| v1::Context {
            hostname,
            kernel,
            agent_version,
            mode,
            image,
            policy,
            machine_id,
            os_name,
        })
        .boxed()
}
