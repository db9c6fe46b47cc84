#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tollbell_fuzz::targets::store::run(bytes));
