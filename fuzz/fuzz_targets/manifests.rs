#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lockside::fuzz::manifests(data));
