//! An S3 server as a process of its own: `cargo run --release -p tidegate-testkit --example s3 --
//! 127.0.0.1:9000`.

// A command-line program: printing is what it is for.
#![allow(clippy::print_stdout)]

use std::net::SocketAddr;
use std::thread;

use tidegate_testkit::S3;

fn main() {
    let address: Option<SocketAddr> = std::env::args().nth(1).map(|address| {
        address
            .parse()
            .expect("an address and a port, as in 127.0.0.1:9000")
    });
    let s3 = address.map_or_else(S3::start, S3::start_at);
    // The first line is for programs that start this one.
    println!("{}", s3.endpoint());
    println!("The bucket is {}. Ctrl-C stops the server.", S3::BUCKET);
    for (name, value) in S3::environment() {
        println!("export {name}={value}");
    }
    loop {
        thread::park(); // ends with the process
    }
}
