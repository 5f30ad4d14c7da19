//! unsafe is allowed in this file: the counting allocator and what the C library's allocator keeps.
//!
//! How much memory the process takes, and whether a next step may begin.
//!
//! `Counting` is the process's allocator: the system's, with a count of what is held and of the
//! most that was held. `settle_allocator` tells the C library to give freed pages back, so that
//! the resident size stays near the heap's. `Budget` answers before each step whether what the step
//! is known to take still fits: the peak resident size of the process (`VmHWM`) is what is promised.
//! Units: bytes, and MiB where a person reads them. Fails by `OverBudget` only, with the numbers.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

const MIB: u64 = 1 << 20;
/// From this size on an allocation is mapped by itself and given back when it is freed. The larger
/// tensors of a row's tile are not: each would be cleared page by page. With 1 MiB here and below the
/// system's share of a page's time is 0.17 of 0.91 s, so 0.03 of 0.78, and the peak 1 to 17 MiB higher.
const MMAP_THRESHOLD_BYTES: i32 = 4 << 20;
/// Free bytes at the heap's end that are kept.
const TRIM_THRESHOLD_BYTES: i32 = 8 << 20;
/// Every arena keeps freed bytes of its own.
const ARENA_COUNT_MAX: i32 = 2;

/// The system's allocator with a count of held bytes.
pub struct Counting {
    held: AtomicUsize,
    peak: AtomicUsize,
}

impl Counting {
    pub const fn new() -> Self {
        Self {
            held: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
        }
    }

    /// Bytes held now.
    pub fn held_bytes(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Most bytes held at once since the start or the last `forget_peak`.
    pub fn peak_bytes(&self) -> usize {
        self.peak.load(Ordering::Relaxed)
    }

    /// Starts the peak anew from what is held now.
    pub fn forget_peak(&self) {
        self.peak.store(self.held_bytes(), Ordering::Relaxed);
    }

    fn add(&self, bytes: usize) {
        let held = self.held.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.peak.fetch_max(held, Ordering::Relaxed);
    }

    fn remove(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Default for Counting {
    fn default() -> Self {
        Self::new()
    }
}

// SAFETY: every call is handed to `System` with the caller's own arguments, and its answer is given
// back unchanged; the counts touch no memory but their own atomics and never allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller promises a layout of non-zero size, which is all that `System` asks.
        let block = unsafe { System.alloc(layout) };
        if !block.is_null() {
            self.add(layout.size());
        }
        block
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller promises a layout of non-zero size, which is all that `System` asks.
        let block = unsafe { System.alloc_zeroed(layout) };
        if !block.is_null() {
            self.add(layout.size());
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller promises that `block` came from this allocator with `layout`, and this
        // allocator's blocks are `System`'s.
        unsafe { System.dealloc(block, layout) };
        self.remove(layout.size());
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as for `dealloc`; the caller promises a non-zero `size` that does not overflow
        // when it is rounded up to the layout's alignment.
        let moved = unsafe { System.realloc(block, layout, size) };
        if !moved.is_null() {
            // Both exist at once only where `System` has to move the block; large ones are remapped.
            self.add(size.saturating_sub(layout.size()));
            self.remove(layout.size().saturating_sub(size));
        }
        moved
    }
}

/// Has the C library give freed memory back; where it is not glibc, nothing is to be done.
pub fn settle_allocator() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    for (parameter, value) in [
        (libc::M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES),
        (libc::M_TRIM_THRESHOLD, TRIM_THRESHOLD_BYTES),
        (libc::M_ARENA_MAX, ARENA_COUNT_MAX),
    ] {
        // SAFETY: `mallopt` takes two integers and is called at the start, before other threads
        // allocate; an unknown parameter is answered with 0 and changes nothing.
        let _ = unsafe { libc::mallopt(parameter, value) };
    }
}

/// Resident size of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resident {
    pub now_bytes: u64,
    /// The most since the process began (`VmHWM`).
    pub peak_bytes: u64,
}

/// As the kernel counts it; `None` where there is no `/proc`.
pub fn resident() -> Option<Resident> {
    parse_status(&std::fs::read_to_string("/proc/self/status").ok()?)
}

fn parse_status(text: &str) -> Option<Resident> {
    let kib = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok()
    };
    Some(Resident {
        now_bytes: 1024 * kib("VmRSS:")?,
        peak_bytes: 1024 * kib("VmHWM:")?,
    })
}

/// Bytes as MiB, to a tenth.
pub fn in_mib(bytes: u64) -> f64 {
    (bytes as f64 / MIB as f64 * 10.0).round() / 10.0
}

/// The most that the process may take, in resident bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    limit_bytes: u64,
}

/// A step that would take more than is left.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error(
    "{step} takes {needed} MiB of memory, {room} of {limit} MiB are left; raise the memory budget",
    needed = needed_bytes.div_ceil(MIB), room = room_bytes / MIB, limit = limit_bytes / MIB
)]
pub struct OverBudget {
    pub step: &'static str,
    pub needed_bytes: u64,
    pub room_bytes: u64,
    pub limit_bytes: u64,
}

impl Budget {
    pub fn of_mib(limit_mib: usize) -> Self {
        Self {
            limit_bytes: limit_mib as u64 * MIB,
        }
    }

    /// What may still be taken by a process of `resident_bytes`.
    pub fn room_bytes(&self, resident_bytes: u64) -> u64 {
        self.limit_bytes.saturating_sub(resident_bytes)
    }

    /// Whether `step`, which takes `needed_bytes`, may begin.
    pub fn admit(
        &self,
        step: &'static str,
        needed_bytes: u64,
        resident_bytes: u64,
    ) -> Result<(), OverBudget> {
        let room_bytes = self.room_bytes(resident_bytes);
        if needed_bytes <= room_bytes {
            return Ok(());
        }
        Err(OverBudget {
            step,
            needed_bytes,
            room_bytes,
            limit_bytes: self.limit_bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes the whole block, so that a block too small or misplaced does not go unseen.
    fn fill(block: *mut u8, layout: Layout, value: u8) {
        assert!(!block.is_null());
        assert_eq!(block as usize % layout.align(), 0, "{layout:?}");
        // SAFETY: the block was just given out with this layout and is not shared.
        unsafe { block.write_bytes(value, layout.size()) };
    }

    fn holds(block: *mut u8, count: usize, value: u8) -> bool {
        // SAFETY: the first `count` bytes of the block are initialised and not written meanwhile.
        unsafe { std::slice::from_raw_parts(block, count) }
            .iter()
            .all(|&byte| byte == value)
    }

    #[test]
    fn blocks_are_whole_and_counted() {
        for (size, align) in [(1, 1), (24, 8), (100, 64), (1 << 16, 4096), (3 << 20, 64)] {
            let counting = Counting::new();
            let layout = Layout::from_size_align(size, align).unwrap();
            let larger = Layout::from_size_align(2 * size, align).unwrap();
            // SAFETY: layouts are not empty; each block is freed once with its present layout.
            unsafe {
                let zeroed = counting.alloc_zeroed(layout);
                assert!(holds(zeroed, size, 0));
                fill(zeroed, layout, 0xA5);
                let block = counting.alloc(layout);
                fill(block, layout, 0x5A);
                assert!(holds(zeroed, size, 0xA5), "blocks overlap");
                assert_eq!(counting.held_bytes(), 2 * size);
                let grown = counting.realloc(block, layout, 2 * size);
                assert!(holds(grown, size, 0x5A), "bytes lost on the way");
                fill(grown, larger, 0x33);
                assert_eq!(counting.held_bytes(), 3 * size);
                let shrunk = counting.realloc(grown, larger, size);
                assert!(holds(shrunk, size, 0x33));
                counting.dealloc(shrunk, layout);
                counting.dealloc(zeroed, layout);
            }
            assert_eq!(
                (counting.held_bytes(), counting.peak_bytes()),
                (0, 3 * size)
            );
            counting.forget_peak();
            assert_eq!(counting.peak_bytes(), 0);
        }
    }

    #[test]
    fn an_allocation_that_fails_is_not_counted() {
        let counting = Counting::new();
        let layout = Layout::from_size_align(isize::MAX as usize - 4095, 4096).unwrap();
        // SAFETY: the layout is valid and not empty; no block is given out.
        assert!(unsafe { counting.alloc(layout) }.is_null());
        assert_eq!((counting.held_bytes(), counting.peak_bytes()), (0, 0));
    }

    #[test]
    fn the_kernels_lines_are_read() {
        let text = "Name:\tleadscan\nVmHWM:\t  131072 kB\nVmRSS:\t   65536 kB\n";
        let found = parse_status(text).unwrap();
        assert_eq!(
            found,
            Resident {
                now_bytes: 64 << 20,
                peak_bytes: 128 << 20
            }
        );
        assert_eq!(parse_status("VmRSS:\t65536 kB\n"), None);
    }

    #[test]
    fn a_step_beyond_the_budget_is_refused_with_numbers() {
        let budget = Budget::of_mib(128);
        assert_eq!(budget.admit("decoding", 60 << 20, 68 << 20), Ok(()));
        let refused = budget
            .admit("decoding", (60 << 20) + 1, 68 << 20)
            .unwrap_err();
        let text =
            "decoding takes 61 MiB of memory, 60 of 128 MiB are left; raise the memory budget";
        assert_eq!(refused.to_string(), text);
        assert_eq!(budget.room_bytes(200 << 20), 0);
    }
}
