//! Storage that goes away while nothing is loaded.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::job::{bounded, log};
use crate::running::Running;

/// The answer to a request, head and body.
fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\nhost: {address}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_loader_without_anything_to_load_sees_that_the_folder_of_its_storage_is_gone() {
    let job = bounded()
        .set("warehouse.url", "duckdb:warehouse.duckdb")
        .set("load.separate", true)
        .set("http.ready-after", "1s");
    job.catch_up();
    let last = log(&job).0.last_seq;
    let mut load = Running::start(job.command(&["load", "--set", "load.listen=127.0.0.1:0"]));
    let mut address = String::new();
    load.wait_until("an address", |text| {
        let said = text.split("address=").nth(1);
        let said = said.and_then(|rest| rest.split_whitespace().next());
        address = said.unwrap_or_default().to_owned();
        !address.is_empty()
    });
    let reachable = |number: u8| {
        let series = format!("tidegate_storage_reachable{{pipeline=\"transactions\"}} {number}\n");
        get(&address, "/metrics").contains(&series)
    };
    let loaded = format!("last_seq={last} ");
    load.wait_until("all loaded", |text| text.contains(&loaded));
    load.wait_until("ready", |_| get(&address, "/readyz").contains(" 200 "));
    assert!(reachable(1));

    let (data, away) = (job.path("data"), job.path("away"));
    std::fs::rename(&data, &away).unwrap();
    load.wait_until("not ready", |_| {
        let said = get(&address, "/readyz");
        said.contains(" 503 ") && said.contains("\nstorage away for ")
    });
    assert!(reachable(0));
    let text = load.text();
    let told = "cannot find file:data/log";
    assert!(text.contains(told), "{text}");
    // Nothing is made where the folder was.
    assert!(!data.exists());

    std::fs::rename(&away, &data).unwrap();
    load.wait_until("ready again", |_| {
        get(&address, "/readyz").contains(" 200 ")
    });
    assert!(reachable(1));
    let text = load.end_well();
    let again = text.matches("loading works again").count();
    assert_eq!(again, 1, "{text}");
}
