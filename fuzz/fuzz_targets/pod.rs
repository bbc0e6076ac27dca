//! As `manifest`, for pods in both profiles.
#![no_main]

use appc::schema::{Kind, Options, Profile, pod_manifest, validate_manifest};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for profile in [Profile::Template, Profile::Reified] {
        let options = Options { kind: Some(Kind::Pod), profile, ..Options::default() };
        if validate_manifest(bytes, &options).is_valid() {
            assert!(pod_manifest(bytes, &options).is_ok());
        }
    }
});
