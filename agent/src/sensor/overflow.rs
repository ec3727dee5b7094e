//! What found no room in a ring, row by row: who changed which directory how often.
//!
//! The sensor adds to the rows of the current second; those of earlier ones are complete and are taken out here.

use aya::Ebpf;
use aya::maps::{HashMap, Map, MapData, MapError};
use graven_abi::overflow::{Key, Row, SECOND};
use zerocopy::FromBytes;

use super::rings::boot_time;
use super::{SensorError, map_error, take};

/// Bytes of a key and of a row.
const KEY: usize = size_of::<Key>();
const ROW: usize = size_of::<Row>();

/// One row, as the sensor wrote it.
#[derive(Clone, Debug)]
pub struct Overflow {
    /// Whose.
    pub key: Key,
    /// How much.
    pub row: Row,
}

/// The table.
pub(super) struct Overflows {
    table: HashMap<MapData, [u8; KEY], [u8; ROW]>,
    /// Rows that were not complete at the last look.
    left: usize,
    complete: bool,
}

impl Overflows {
    pub(super) fn new(ebpf: &mut Ebpf) -> Result<Self, SensorError> {
        Self::over(take(ebpf, "OVERFLOW")?)
    }

    /// Of a map that is there.
    pub(super) fn over(map: Map) -> Result<Self, SensorError> {
        let table = HashMap::try_from(map).map_err(|source| map_error("OVERFLOW", source))?;
        Ok(Self { table, left: 0, complete: false })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.left == 0
    }

    pub(super) fn complete(&mut self) {
        self.complete = true;
    }

    /// Takes the complete rows out.
    pub(super) fn take(&mut self) -> Result<Vec<Overflow>, SensorError> {
        self.taken(boot_time() >> SECOND).map_err(|source| map_error("OVERFLOW", source))
    }

    fn taken(&mut self, now: u64) -> Result<Vec<Overflow>, MapError> {
        let keys: Vec<[u8; KEY]> = self.table.keys().collect::<Result<_, _>>()?;
        let mut rows = Vec::new();
        self.left = 0;
        for bytes in keys {
            let Ok(key) = Key::read_from_bytes(&bytes) else { continue };
            // A program may be interrupted between taking the time and adding to the row.
            if key.second + 1 >= now && !self.complete {
                self.left += 1;
                continue;
            }
            if let Ok(row) = Row::read_from_bytes(&self.table.get(&bytes, 0)?) {
                rows.push(Overflow { key, row });
            }
            self.table.remove(&bytes)?;
        }
        Ok(rows)
    }
}
