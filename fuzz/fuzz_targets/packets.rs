//! What a client sends, from CONNECT on, in any bytes; see `pocket_mqtt_ntex::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|stream: &[u8]| pocket_mqtt_ntex::fuzzing::packets(stream));
