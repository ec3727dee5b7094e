//! Who certifies a run's first key, and what the two small signed statements look like.

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use prost::Message;

use crate::v1::{EpochStart, EpochStatement};
use crate::wire::{HeadStatement, Heartbeat};

const EPOCH_START: &[u8] = b"graven/epoch-start/1\n";
const HEAD: &[u8] = b"graven/head/1\n";
const ENROL: &[u8] = b"graven/enrol/1\n";

/// A statement does not hold.
#[derive(Debug, thiserror::Error)]
pub enum EpochError {
    /// Not made by that key.
    #[error("the signature is not of the expected key")]
    Signature,
    /// The signed bytes are not a statement.
    #[error("the signed statement does not decode")]
    Statement(#[source] prost::DecodeError),
    /// A key in it is not a point of the curve.
    #[error("the statement's key is not an Ed25519 key")]
    Key,
}

/// Signs a run's first statement with the host's start key.
pub fn certify(statement: &EpochStatement, start_key: &SigningKey) -> EpochStart {
    let statement = statement.encode_to_vec();
    let signature = start_key.sign(&[EPOCH_START, &statement].concat()).to_bytes().to_vec();
    EpochStart { statement, signature }
}

/// The statement and the epoch's key, if the host's start key signed them.
pub fn verify_start(
    start: &EpochStart,
    start_key: &VerifyingKey,
) -> Result<(EpochStatement, VerifyingKey), EpochError> {
    verify(EPOCH_START, &start.statement, &start.signature, start_key)?;
    let statement = EpochStatement::decode(start.statement.as_slice()).map_err(EpochError::Statement)?;
    let key = verifying_key(&statement.key)?;
    Ok((statement, key))
}

/// Signs what both lanes' heads are.
pub fn sign_head(head: &HeadStatement, epoch_key: &SigningKey) -> Heartbeat {
    let statement = head.encode_to_vec();
    let signature = epoch_key.sign(&[HEAD, &statement].concat()).to_bytes().to_vec();
    Heartbeat { statement, signature }
}

/// The heads, if the epoch key signed them.
pub fn verify_head(heartbeat: &Heartbeat, epoch_key: &VerifyingKey) -> Result<HeadStatement, EpochError> {
    verify(HEAD, &heartbeat.statement, &heartbeat.signature, epoch_key)?;
    HeadStatement::decode(heartbeat.statement.as_slice()).map_err(EpochError::Statement)
}

/// Proof that the one who enrols holds the start key.
pub fn sign_enrolment(token: &str, csr: &str, start_key: &SigningKey) -> Vec<u8> {
    start_key.sign(&enrolment(token, csr)).to_bytes().to_vec()
}

/// Checks that proof.
pub fn verify_enrolment(
    token: &str,
    csr: &str,
    signature: &[u8],
    key: &VerifyingKey,
) -> Result<(), EpochError> {
    // An end of line in the token would let its end and the request's beginning change places.
    let one_line = !token.contains('\n');
    let signature =
        Signature::from_slice(signature).ok().filter(|_| one_line).ok_or(EpochError::Signature)?;
    key.verify_strict(&enrolment(token, csr), &signature).map_err(|_| EpochError::Signature)
}

fn enrolment(token: &str, csr: &str) -> Vec<u8> {
    [ENROL, token.as_bytes(), b"\n", csr.as_bytes()].concat()
}

fn verify(domain: &[u8], statement: &[u8], signature: &[u8], key: &VerifyingKey) -> Result<(), EpochError> {
    let signature = Signature::from_slice(signature).map_err(|_| EpochError::Signature)?;
    key.verify_strict(&[domain, statement].concat(), &signature).map_err(|_| EpochError::Signature)
}

/// A public key from its 32 bytes.
pub fn verifying_key(bytes: &[u8]) -> Result<VerifyingKey, EpochError> {
    let bytes: &[u8; 32] = bytes.try_into().map_err(|_| EpochError::Key)?;
    VerifyingKey::from_bytes(bytes).map_err(|_| EpochError::Key)
}
