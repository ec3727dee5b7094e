//! bpf_rdonly_cast (Linux 6.2): with it the sensor loads a field of any struct of the kernel's where it would otherwise
//! call a helper, which costs twenty times as much.
//!
//! In: the object, in which a call of a helper that no kernel has stands where the function is to be called. Out: the
//! object with calls of the function, by its number in this kernel's BTF; or, where the kernel has none, with plain
//! moves in their place, which are never run.

use graven_abi::offsets::CAST;

/// Bytes of an instruction (Documentation/bpf/standardization/instruction-set.rst).
const INSTRUCTION: usize = 8;
/// BPF_JMP | BPF_CALL, no registers.
const CALL: [u8; 4] = [0x85, 0, 0, 0];
/// The same with BPF_PSEUDO_KFUNC_CALL as the source register.
const CALL_FUNCTION: [u8; 4] = [0x85, 0x20, 0, 0];
/// r0 = r1.
const MOVE: [u8; INSTRUCTION] = [0xbf, 0x10, 0, 0, 0, 0, 0, 0];

/// What the kernel's BTF says of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cast {
    /// Number of the function.
    pub(super) function: u32,
    /// Number of the struct that memory is read as.
    pub(super) words: u32,
}

/// The object as this kernel can load it.
pub(super) fn put_into(object: &[u8], cast: Option<Cast>) -> Vec<u8> {
    let stands = [CALL, CAST.to_le_bytes()].concat();
    let instead = match cast {
        Some(cast) => [CALL_FUNCTION, cast.function.to_le_bytes()].concat(),
        None => MOVE.to_vec(),
    };
    let mut object = object.to_vec();
    // Sections of instructions are aligned to one.
    for instruction in object.chunks_exact_mut(INSTRUCTION) {
        if *instruction == *stands {
            instruction.copy_from_slice(&instead);
        }
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An object has calls to be put into; those of other helpers and everything else stay as they are.
    #[test]
    fn only_the_calls_that_stand_for_it_become_calls_of_the_function() {
        for object in [super::super::OBJECT, super::super::OBJECT_COUNTED] {
            let made = put_into(object, Some(Cast { function: 0x0102_0304, words: 7 }));
            let changed: Vec<&[u8]> = made
                .chunks(INSTRUCTION)
                .zip(object.chunks(INSTRUCTION))
                .filter(|(now, before)| now != before)
                .map(|(now, _)| now)
                .collect();
            assert!(changed.iter().all(|now| **now == [0x85, 0x20, 0, 0, 4, 3, 2, 1]), "{changed:?}");
            assert_eq!(changed.is_empty(), std::ptr::eq(object, super::super::OBJECT_COUNTED));
            assert_eq!(made.len(), object.len());
        }
    }

    #[test]
    fn where_the_kernel_has_none_no_call_is_left() {
        let made = put_into(super::super::OBJECT, None);
        let stands = [CALL, CAST.to_le_bytes()].concat();
        assert!(!made.windows(INSTRUCTION).any(|bytes| bytes == stands), "at any alignment");
        assert_eq!(made.len(), super::super::OBJECT.len());
    }
}
