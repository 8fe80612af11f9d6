#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| apptoken_fuzz::run("request", data));
