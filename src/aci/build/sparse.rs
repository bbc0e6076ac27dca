//! Which parts of a file are holes.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use rustix::fs::{SeekFrom as Hole, Stat, seek};
use rustix::io::Errno;

/// Holes begin and end on multiples of this.
const PAGE: usize = 4096;
/// Shorter runs of zeros are data: a piece of the map costs more than they do.
const SHORTEST: u64 = 32 << 10;
/// Pieces of a map; what comes after the last but one is a single piece.
const MOST: usize = 100_000;

/// Offset and length of what is not a hole; nothing for a file that has none.
///
/// Only a file that takes less room than its size says is looked at; which parts are holes is then decided by what it holds, since
/// file systems differ in what they tell, and the same content shall give the same archive.
///
/// What a file takes is a matter of the file system too, which may compress; `always` looks at all files, so that no two differ.
pub(super) fn extents(file: &mut File, stat: &Stat, always: bool) -> io::Result<Option<Vec<(u64, u64)>>> {
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    let blocks = u64::try_from(stat.st_blocks).unwrap_or(0);
    if size < SHORTEST || !always && blocks.saturating_mul(512) >= size {
        return Ok(None);
    }
    let mut extents: Vec<(u64, u64)> = Vec::new();
    let mut buffer = vec![0; 256 << 10];
    let mut offset = 0;
    while offset < size {
        // What the file system knows to be a hole need not be read.
        match seek(&*file, Hole::Data(offset)) {
            Ok(data) => offset = data - data % PAGE as u64,
            Err(Errno::NXIO) => break,
            Err(Errno::INVAL | Errno::NOTSUP) => {}
            Err(error) => return Err(error.into()),
        }
        file.seek(SeekFrom::Start(offset))?;
        let count = read(file, &mut buffer)?;
        if count == 0 {
            break;
        }
        for page in buffer[..count].chunks(PAGE) {
            if page.iter().any(|&byte| byte != 0) {
                let length = page.len() as u64;
                let full = extents.len() == MOST;
                match extents.last_mut() {
                    Some((start, before)) if full || offset - (*start + *before) < SHORTEST => {
                        *before = offset + length - *start;
                    }
                    None if offset < SHORTEST => extents.push((0, offset + length)),
                    _ => extents.push((offset, length)),
                }
            }
            offset += page.len() as u64;
        }
    }
    // A file that grows while it is read must not pass the size in its header.
    extents.retain_mut(|(start, length)| {
        *length = (*length).min(size.saturating_sub(*start));
        *length > 0
    });
    let end = extents.last().map_or(0, |(start, length)| start + length);
    if size - end < SHORTEST {
        match extents.last_mut() {
            Some((start, length)) => *length = size - *start,
            None => extents.push((0, size)),
        }
    } else {
        // GNU tar takes the end of the last piece for the end of the file.
        extents.push((size, 0));
    }
    file.seek(SeekFrom::Start(0))?;
    Ok((extents != [(0, size)]).then_some(extents))
}

fn read(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
