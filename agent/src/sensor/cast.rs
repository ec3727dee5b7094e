//! bpf_rdonly_cast (Linux 6.2): with it the sensor loads a field of any struct of the kernel's where it would otherwise
//! call a helper, which costs twenty times as much.
//!
//! In: the object, in which a call of a helper that no kernel has stands where the function is to be called, and a number
//! where the struct's is. Out: the object with calls of the function, by its number in this kernel's BTF.

use graven_abi::offsets::{CAST, CAST_TO};

/// Bytes of an instruction (Documentation/bpf/standardization/instruction-set.rst).
const INSTRUCTION: usize = 8;
/// BPF_JMP | BPF_CALL, no registers.
const CALL: [u8; 4] = [0x85, 0, 0, 0];
/// The same with BPF_PSEUDO_KFUNC_CALL as the source register.
const CALL_FUNCTION: [u8; 4] = [0x85, 0x20, 0, 0];
/// BPF_ALU64 | BPF_MOV | BPF_K and BPF_ALU | BPF_MOV | BPF_K: a number into a register.
const MOVES: [u8; 2] = [0xb7, 0xb4];

/// What the kernel's BTF says of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cast {
    /// Number of the function.
    pub(super) function: u32,
    /// Number of the struct that memory is read as.
    pub(super) words: u32,
}

/// The object as this kernel can load it.
pub(super) fn put_into(object: &[u8], cast: Cast) -> Vec<u8> {
    let mut object = object.to_vec();
    // Sections of instructions are aligned to one.
    for instruction in object.chunks_exact_mut(INSTRUCTION) {
        let (code, number) = instruction.split_at_mut(INSTRUCTION / 2);
        if *code == CALL && *number == CAST.to_le_bytes() {
            code.copy_from_slice(&CALL_FUNCTION);
            number.copy_from_slice(&cast.function.to_le_bytes());
        } else if is_move(code) && *number == CAST_TO.to_le_bytes() {
            number.copy_from_slice(&cast.words.to_le_bytes());
        }
    }
    object
}

/// Whichever register the number goes to.
fn is_move(code: &[u8]) -> bool {
    matches!(code, [code, registers, 0, 0] if MOVES.contains(code) && *registers < 0x10)
}

#[cfg(test)]
mod tests {
    use super::super::{OBJECT, OBJECT_CAST, OBJECT_COUNTED};
    use super::*;

    const THIS: Cast = Cast { function: 0x0102_0304, words: 0x0506 };

    /// One object has calls to be put into; those of other helpers and everything else stay as they are.
    #[test]
    fn only_what_stands_for_it_becomes_a_call_of_the_function() {
        let made = put_into(OBJECT_CAST, THIS);
        let instructions = |object| <[u8]>::chunks(object, INSTRUCTION);
        let changed: Vec<&[u8]> = instructions(&made)
            .zip(instructions(OBJECT_CAST))
            .filter(|(now, before)| now != before)
            .map(|(now, _)| now)
            .collect();
        let (calls, others): (Vec<&[u8]>, _) = changed.iter().partition(|now| now[0] == CALL[0]);
        assert!(calls.iter().all(|now| **now == [0x85, 0x20, 0, 0, 4, 3, 2, 1]), "{calls:?}");
        assert!(others.iter().all(|now| is_move(&now[..4]) && now[4..] == [6, 5, 0, 0]), "{others:?}");
        assert!(calls.len() > 100 && !others.is_empty(), "{} calls, {} numbers", calls.len(), others.len());
        assert_eq!(made.len(), OBJECT_CAST.len());
    }

    #[test]
    fn nothing_that_stands_for_it_is_left_and_kernels_without_it_have_none() {
        let stands = [CAST.to_le_bytes(), CAST_TO.to_le_bytes()];
        let stand = |object: &[u8]| object.windows(4).any(|bytes| stands.iter().any(|word| bytes == word));
        assert!(!stand(OBJECT) && !stand(OBJECT_COUNTED), "at any alignment");
        assert!(stand(OBJECT_CAST) && !stand(&put_into(OBJECT_CAST, THIS)));
    }
}
