//! An isolator that can be read is written as one that reads the same.
#![no_main]

use appc::schema::Isolator;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(isolator) = serde_json::from_slice::<Isolator>(bytes) {
        let text = serde_json::to_vec(&isolator).expect("an isolator can be written");
        assert_eq!(serde_json::from_slice::<Isolator>(&text).expect("what was written can be read"), isolator);
    }
});
