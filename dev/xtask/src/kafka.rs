//! Apache Kafka for the tests: its jars, which are ordinary Maven artifacts.

use std::path::Path;

use crate::fetch;
use crate::places::Places;
use crate::process::Failure;

/// Runs on Java 17.
const VERSION: &str = "4.1.1";

/// The broker, and a logger that keeps quiet below warnings.
const POM: &str = r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>tidegate</groupId>
  <artifactId>kafka</artifactId>
  <version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>VERSION</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
"#;

/// Sees that `.deps/kafka/libs` holds the jars.
pub(crate) fn fetch(places: &Places) -> Result<(), Failure> {
    let folder = fetch::folder(&places.cache, &format!("kafka-{VERSION}"), download)?;
    if !places.link("kafka", &folder)? {
        println!("Kafka {VERSION} is in .deps/kafka");
    }
    Ok(())
}

fn download(folder: &Path) -> Result<(), Failure> {
    fetch::jars(folder, &POM.replace("VERSION", VERSION), &[])
}
