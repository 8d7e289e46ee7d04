//! What the figures depend on besides the program.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use pocket_tests::binary;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};

use crate::peer::Peer;

/// Raises the limit of files and sockets as far as this process may by itself; what it starts has the same.
pub(crate) fn raise_limit_of_files() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    // Connections that are refused then are an error that says why.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// The machine, and the programs that are measured.
pub(crate) fn described() -> Value {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let cpu = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map(|(_, name)| name);
    json!({
        "cores": std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
        "cpu": cpu,
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "binaryMegabytes": std::fs::metadata(binary()).map_or(0.0, |file| file.len() as f64 / 1e6),
        "mosquitto": Peer::version(),
    })
}

/// Microseconds in which a file grows by 4 KiB and the disk says that it has them, the mean of so many.
pub(crate) fn fsync(directory: &Path, times: usize) -> f64 {
    let path = directory.join("fsync");
    let mut file = File::create(&path).expect("a file in the data directory");
    let began = Instant::now();
    for _ in 0..times {
        file.write_all(&[7; 4_096]).and_then(|()| file.sync_data()).expect("the file is written");
    }
    let mean = began.elapsed().as_secs_f64() * 1e6 / times as f64;
    std::fs::remove_file(path).expect("the file is there");
    mean
}
