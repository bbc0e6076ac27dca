//! Giving memory back.

#![allow(unsafe_code)]

/// Lets go of the pages of the program and its libraries that this process has in sight, and of what the allocator keeps
/// for later. They come back from the page cache one by one when they are needed: a process that waits needs few.
pub fn trim() {
    // SAFETY: the callback does not unwind and keeps nothing, `page` outlives it; malloc_trim takes no pointer.
    unsafe {
        let mut page = u64::try_from(libc::sysconf(libc::_SC_PAGESIZE)).unwrap_or(4096);
        libc::dl_iterate_phdr(Some(forget), (&raw mut page).cast());
        #[cfg(target_env = "gnu")]
        libc::malloc_trim(0);
    }
}

unsafe extern "C" fn forget(
    object: *mut libc::dl_phdr_info,
    _size: libc::size_t,
    page: *mut libc::c_void,
) -> libc::c_int {
    // SAFETY: the C library gives a valid object, whose headers live as long as it is loaded, and passes the page size on.
    let (base, headers, page) = unsafe {
        let object = &*object;
        (
            object.dlpi_addr,
            std::slice::from_raw_parts(object.dlpi_phdr, usize::from(object.dlpi_phnum)),
            *page.cast::<u64>(),
        )
    };
    for header in headers.iter().filter(|header| header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W == 0) {
        let start = (base + header.p_vaddr) & !(page - 1);
        let end = base + header.p_vaddr + header.p_memsz;
        // SAFETY: a segment that is never writable has in memory what its file has, so nothing is lost.
        unsafe { libc::madvise(start as *mut libc::c_void, (end - start) as usize, libc::MADV_DONTNEED) };
    }
    0
}
