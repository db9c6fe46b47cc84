//! The guest's memory: allocations for the host, returned bytes, and accesses that trap.
#![allow(unsafe_code)]

use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicU32, Ordering};

/// The ways in which [`allocate`] answers. The script chooses one with `malloc <manner>`.
pub(crate) const MANNERS: [&str; 4] = ["ok", "none", "wild", "trap"];

static MANNER: AtomicU32 = AtomicU32::new(0);

/// Chooses one of [`MANNERS`].
pub(crate) fn set_manner(manner: u32) {
    MANNER.store(manner, Ordering::Relaxed);
}

/// Memory for the host to write to. It is never freed, because a probe does not live long.
pub(crate) fn allocate(size: usize) -> *mut u8 {
    match MANNER.load(Ordering::Relaxed) {
        1 => std::ptr::null_mut(),
        2 => std::ptr::without_provenance_mut(0xffff_f000),
        3 => trap(),
        _ => ManuallyDrop::new(Vec::with_capacity(size)).as_mut_ptr(),
    }
}

/// The bytes that the host returned by pointer and length; `None` if they are not in the guest's memory.
pub(crate) fn returned(pointer: u32, len: u32) -> Option<&'static [u8]> {
    let end = u64::from(pointer).checked_add(u64::from(len))?;
    if end > total() {
        return None;
    }
    // SAFETY: the host got the memory from `allocate`, and it is never freed.
    Some(unsafe { std::slice::from_raw_parts(std::ptr::with_exposed_provenance(pointer as usize), len as usize) })
}

/// A store by the guest itself.
pub(crate) fn store(address: u32) {
    // SAFETY: none, on purpose: outside of the memory, it traps.
    unsafe { std::ptr::without_provenance_mut::<u8>(address as usize).write_volatile(1) };
}

/// Calls itself until the stack is full.
#[allow(unconditional_recursion)]
pub(crate) fn overflow(depth: u32) -> u32 {
    let frame = [depth; 64];
    let deeper = overflow(std::hint::black_box(frame).first().map_or(0, |depth| depth.wrapping_add(1)));
    std::hint::black_box(deeper).wrapping_add(1)
}

#[cfg(target_arch = "wasm32")]
mod machine {
    const PAGE: u64 = 65536;

    /// The memory's size in bytes.
    pub(crate) fn total() -> u64 {
        (core::arch::wasm32::memory_size(0) as u64).saturating_mul(PAGE)
    }

    /// Grows the memory by `pages` repeatedly until it fails. Returns the number of pages after that.
    pub(crate) fn grow(pages: u32) -> usize {
        while core::arch::wasm32::memory_grow(0, pages as usize) != usize::MAX {}
        core::arch::wasm32::memory_size(0)
    }

    /// Traps.
    pub(crate) fn trap() -> ! {
        core::arch::wasm32::unreachable()
    }
}

/// Replacements, so that the lints can check the crate natively.
#[cfg(not(target_arch = "wasm32"))]
mod machine {
    pub(crate) fn total() -> u64 {
        0
    }

    pub(crate) fn grow(_: u32) -> usize {
        0
    }

    pub(crate) fn trap() -> ! {
        std::process::abort()
    }
}

pub(crate) use machine::{grow, total, trap};
