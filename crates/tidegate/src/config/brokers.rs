//! Checks lists of brokers.
//!
//! librdkafka takes any text, reads the digits that it finds and has a default for the rest, so
//! that `foo:99999` is port 34463 of `foo`. Source: `rd_kafka_broker_name_parse` of its
//! `rdkafka_broker.c`.

use std::net::Ipv6Addr;

/// Protocols that librdkafka takes before an address; none is other than `security.protocol`.
const PROTOCOLS: [&str; 4] = ["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"];

const ACCEPTED: &str = "a broker is host:port, with a port from 1 to 65535, as in broker-1:9092 or \
                        [::1]:9092; several are separated by commas";

/// Checks that a text is a list of brokers. What lies between two commas may be nothing, as for
/// librdkafka.
///
/// # Errors
/// Which of them is not a broker and why, and what is accepted.
pub fn check(text: &str) -> Result<(), String> {
    let mut brokers = text
        .split(',')
        .map(|broker| broker.trim_matches(' '))
        .filter(|broker| !broker.is_empty())
        .peekable();
    if brokers.peek().is_none() {
        return Err(format!("there is no broker in it; {ACCEPTED}"));
    }
    brokers.try_for_each(|broker| {
        check_one(broker).map_err(|why| format!("`{broker}` {why}; {ACCEPTED}"))
    })
}

/// As [`check`], for the command line: gives the text as it is.
///
/// # Errors
/// As [`check`].
pub fn parse(text: &str) -> Result<String, String> {
    check(text).map(|()| text.to_owned())
}

fn check_one(broker: &str) -> Result<(), String> {
    let address = match broker.split_once("://") {
        None => broker,
        Some((protocol, address)) => {
            if !PROTOCOLS.contains(&&*protocol.to_ascii_lowercase()) {
                return Err(format!(
                    "has the protocol `{protocol}`, which is none of {}",
                    PROTOCOLS.map(str::to_ascii_uppercase).join(", ")
                ));
            }
            address
        }
    };
    let Some((host, port)) = address.rsplit_once(':') else {
        return Err("has no port".to_owned());
    };
    let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number || !matches!(port.parse::<u16>(), Ok(1..)) {
        return Err(format!("has the port `{port}`"));
    }
    check_host(host)
}

fn check_host(host: &str) -> Result<(), String> {
    if let Some(inner) = host.strip_prefix('[') {
        // A link-local address has the name of an interface.
        let address = inner.strip_suffix(']').unwrap_or_default();
        let address = address.split_once('%').map_or(address, |(ip, _)| ip);
        return match address.parse::<Ipv6Addr>() {
            Ok(_) => Ok(()),
            Err(_) => Err(format!("has `{host}`, which is no IPv6 address")),
        };
    }
    if host.is_empty() {
        return Err("has no host".to_owned());
    }
    if host.contains(':') {
        return Err("has several colons; an IPv6 address stands in brackets".to_owned());
    }
    match host
        .chars()
        .find(|c| c.is_whitespace() || "/[]@".contains(*c))
    {
        Some(wrong) => Err(format!("has {wrong:?} in its host")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_with_ports_are_brokers() {
        for text in [
            "localhost:9092",
            "a:1,b:65535",
            "a:9092 , b:9092",
            "a:9092,",
            "10.0.0.1:9092",
            "[::1]:9092",
            "[fe80::1%eth0]:9092",
            "SASL_SSL://broker_1.example.com:9092,sasl_ssl://[2001:db8::1]:9093",
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn what_is_no_broker_is_named() {
        for (text, says) in [
            ("foo:99999", "`foo:99999` has the port `99999`; "),
            ("ok:1,a:b", "`a:b` has the port `b`; "),
            ("foo", "`foo` has no port; "),
            ("foo:", "`foo:` has the port ``; "),
            ("foo:0", "has the port `0`; "),
            ("foo:+1", "has the port `+1`; "),
            ("foo:9092/", "has the port `9092/`; "),
            (":9092", "has no host; "),
            ("::1:9092", "an IPv6 address stands in brackets; "),
            ("[::1:9092", "`[::1`, which is no IPv6 address; "),
            ("[localhost]:9092", "which is no IPv6 address; "),
            ("two words:9092", "has ' ' in its host; "),
            ("a:1;b:2", "several colons"),
            ("http://a:1", "`http`, which is none of PLAINTEXT, SSL, "),
            (" , ", "there is no broker in it; "),
        ] {
            let said = check(text).unwrap_err();
            assert!(said.contains(says), "{text}: {said}");
            assert!(said.contains("as in broker-1:9092"), "{said}");
        }
    }
}
