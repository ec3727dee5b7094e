//! What the build script made of `proto/`, in modules that lie as the schema's packages do.
#![expect(
    missing_docs,
    clippy::all,
    unused_qualifications,
    reason = "generated; the schema files hold the words"
)]

pub(crate) mod record {
    /// Messages of `proto/record.proto`.
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/graven.record.v1.rs"));
    }
}

pub(crate) mod wire {
    /// Messages and services of `proto/wire.proto`.
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/graven.wire.v1.rs"));
    }
}
