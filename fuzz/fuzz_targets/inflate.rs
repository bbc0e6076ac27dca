//! A stream is decoded as zlib decodes it, and refused where zlib refuses it.
#![no_main]

use appc_codec::Inflate;
use flate2::{Decompress, FlushDecompress, Status};
use libfuzzer_sys::fuzz_target;

/// What came of it is compared as far as that.
const MOST: usize = 1 << 20;

fuzz_target!(|stream: &[u8]| {
    let (mut ours, mut inflate, mut at) = (Vec::new(), Inflate::new(), 0);
    let whole = loop {
        let (used, result) = inflate.decode(&stream[at..], true);
        at += used;
        ours.extend_from_slice(inflate.decoded());
        inflate.take(inflate.decoded().len());
        if result.is_err() || inflate.done() || ours.len() > MOST {
            break result.is_ok();
        }
    };
    let (mut theirs, mut zlib) = (Vec::with_capacity(ours.len() + 1), Decompress::new(false));
    let status = zlib.decompress_vec(stream, &mut theirs, FlushDecompress::None);
    if inflate.done() {
        assert!(matches!(status, Ok(Status::StreamEnd)) && theirs == ours && zlib.total_in() == at as u64);
    } else if !whole {
        assert!(!matches!(status, Ok(Status::StreamEnd)));
    }
});
