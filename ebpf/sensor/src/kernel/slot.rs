//! What one system call of one thread has changed so far: filled by the inode-time tracepoints, used up
//! by `sys_exit`.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::helpers::generated::bpf_probe_read_kernel_str;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap};
use graven_abi::limits::{NAME, SLOTS as MAX_SLOTS, TOUCHED};
use graven_abi::path;

/// One inode that changed.
#[repr(C)]
pub struct Touched {
    /// Its address.
    pub inode: u64,
    /// The dentry that named it then; 0 = none yet (a new inode).
    pub dentry: u64,
    /// That dentry's parent.
    pub parent: u64,
    /// The inode of that parent.
    pub parent_inode: u64,
    /// Hash and length of the name then.
    pub name_hash: u64,
    /// One of `filter::class`.
    pub class: u32,
    /// 1 = `facts` and `name` are filled.
    pub described: u32,
    /// What a record says of it, without a path.
    pub facts: path::Inode,
    /// Its name then, NUL-terminated.
    pub name: [u8; NAME],
}

/// See the module's text.
#[repr(C)]
pub struct Slot {
    /// Entries in use.
    pub count: u32,
    /// Of these, those that are kept.
    pub kept: u32,
    /// Changes of mutable places.
    pub ignored: u32,
    /// 1 = this rename may move a directory: the generation is odd because of it.
    pub moving: u32,
    pub touched: [Touched; TOUCHED],
}

#[map]
static SLOTS: HashMap<u64, Slot> = HashMap::with_max_entries(MAX_SLOTS, 0);

/// A slot's first value: too large for the stack.
#[map]
static EMPTY: Array<Slot> = Array::with_max_entries(1, 0);

impl Slot {
    /// The current thread's, if it has changed anything.
    #[inline(always)]
    pub fn current() -> Option<&'static mut Self> {
        let slot = SLOTS.get_ptr_mut(bpf_get_current_pid_tgid())?;
        // SAFETY: the value of this thread's key: no other thread uses it, and it lives until this one removes
        // it.
        unsafe { slot.as_mut() }
    }

    /// The current thread's, made if need be; none when there are too many.
    #[inline(always)]
    pub fn open() -> Option<&'static mut Self> {
        if let Some(slot) = Self::current() {
            return Some(slot);
        }
        let empty = EMPTY.get(0)?;
        let _full = SLOTS.insert(bpf_get_current_pid_tgid(), empty, 0);
        Self::current()
    }

    /// An entry by number.
    #[inline(always)]
    pub fn entry(&mut self, index: u32) -> &'static mut Touched {
        // Volatile: the compiler may know where a number came from and leave the mask out, the verifier does not.
        // SAFETY: a local variable.
        let index = unsafe { core::ptr::read_volatile(&raw const index) } as usize & (TOUCHED - 1);
        // SAFETY: the index is masked to the array's length; the slot lives as said above.
        unsafe { &mut *self.touched.as_mut_ptr().add(index) }
    }

    /// What it held is used up, or the thread ends. The slot must not be touched after this.
    #[inline(always)]
    pub fn remove() {
        let _absent = SLOTS.remove(bpf_get_current_pid_tgid());
    }
}

impl Touched {
    /// Copies its name, so that it is known when the dentry is not.
    #[inline(always)]
    pub fn describe_name(&mut self, name: u64) {
        // SAFETY: NAME bytes fit; the helper checks the source.
        let length = unsafe {
            bpf_probe_read_kernel_str(self.name.as_mut_ptr().cast(), NAME as u32, name as *const _)
        };
        self.described = u32::from(length > 0);
    }

    /// Address of the copied name.
    #[inline(always)]
    pub fn name_address(&self) -> u64 {
        self.name.as_ptr() as u64
    }
}
