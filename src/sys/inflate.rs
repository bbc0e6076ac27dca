//! libdeflate's decoder for gzip members that lie in memory whole. Its safe bindings do not tell where a member ends.

#![allow(unsafe_code)]

use std::ptr::NonNull;

use libdeflate_sys as sys;

/// A decoder with its tables.
#[derive(Debug)]
pub struct Inflater(NonNull<sys::libdeflate_decompressor>);

// SAFETY: the decoder is memory of its own, and every use takes it exclusively.
unsafe impl Send for Inflater {}

impl Inflater {
    /// A decoder; none where there is no memory for it.
    pub fn new() -> Option<Self> {
        // SAFETY: takes nothing, and gives memory or null.
        NonNull::new(unsafe { sys::libdeflate_alloc_decompressor() }).map(Self)
    }

    /// Decodes the member that `from` begins with and checks it. Gives the bytes read and written; nothing where it is broken,
    /// not there to its end, or more than `into` holds.
    pub fn member(&mut self, from: &[u8], into: &mut [u8]) -> Option<(usize, usize)> {
        let (mut read, mut written) = (0, 0);
        // SAFETY: the decoder is live and ours alone; both slices are given with their lengths, which the call keeps to.
        let result = unsafe {
            sys::libdeflate_gzip_decompress_ex(
                self.0.as_ptr(),
                from.as_ptr().cast(),
                from.len(),
                into.as_mut_ptr().cast(),
                into.len(),
                &raw mut read,
                &raw mut written,
            )
        };
        (result == sys::libdeflate_result_LIBDEFLATE_SUCCESS).then_some((read, written))
    }
}

impl Drop for Inflater {
    fn drop(&mut self) {
        // SAFETY: it was allocated by the matching call and is not used again.
        unsafe { sys::libdeflate_free_decompressor(self.0.as_ptr()) }
    }
}
