//! An amount's canonical spelling is the same amount.
#![no_main]

use appc::schema::Quantity;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(quantity) = text.parse::<Quantity>() {
        assert_eq!(quantity.canonical().parse::<Quantity>().expect("canonical amounts are amounts"), quantity);
        assert!(u128::from(quantity.units()) * 1_000_000_000 >= quantity.nanos());
    }
});
