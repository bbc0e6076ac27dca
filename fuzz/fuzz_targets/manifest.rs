//! No bytes make the validator fall over; what has no error becomes a typed value and stays itself when written again.
#![no_main]

use appc::schema::{Kind, Options, image_manifest, validate_manifest};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let options = Options { kind: Some(Kind::Image), ..Options::default() };
    if validate_manifest(bytes, &options).is_valid() {
        let manifest = image_manifest(bytes, &options).expect("a manifest without error has a type");
        let text = serde_json::to_vec(&manifest).expect("a manifest can be written");
        assert!(image_manifest(&text, &options).is_ok());
    }
});
