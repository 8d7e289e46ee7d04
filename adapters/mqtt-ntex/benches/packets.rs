//! What bytes to packets and back cost, without sockets: `just bench-micro`.

use divan::Bencher;
use divan::counter::ItemsCount;
use pocket_mqtt_ntex::fuzzing::Codec;

const PACKETS: usize = 100;

fn main() {
    divan::main();
}

/// One read that brought many PUBLISH packets of QoS 1, 64 bytes of JSON each.
#[divan::bench(args = [4, 5])]
fn decode_a_read_of_100_publishes(bencher: Bencher<'_, '_>, version: u8) {
    let codec = Codec::of_version(version);
    let read = codec.publish("plant/7/state", &[b'1'; 64], 1).repeat(PACKETS);
    assert_eq!(codec.decode(&read), PACKETS);
    bencher.counter(ItemsCount::new(PACKETS)).bench_local(|| codec.decode(&read));
}

/// The bytes that all subscribers of QoS 0 share.
#[divan::bench(args = [4, 5])]
fn encode_a_publish_for_fan_out(bencher: Bencher<'_, '_>, version: u8) {
    let codec = Codec::of_version(version);
    bencher.bench_local(|| codec.publish("plant/7/state", &[b'1'; 64], 0));
}
