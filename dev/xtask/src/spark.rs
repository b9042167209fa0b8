//! Spark for the comparison of the benchmarks: PySpark from PyPI, which brings Spark itself, and
//! its Kafka connector from Maven.

use std::path::Path;

use crate::fetch;
use crate::packages;
use crate::places::Places;
use crate::process::{Failure, Step};

/// Runs on Java 17.
const VERSION: &str = "4.0.0";

/// The connector; Spark's own classes are PySpark's. Spark's own POM asks a mirror of Maven Central
/// first, which is not reachable from everywhere; whoever names a repository first decides where it
/// is.
const POM: &str = r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>tidegate</groupId>
  <artifactId>spark</artifactId>
  <version>1</version>
  <repositories>
    <repository><id>gcs-maven-central-mirror</id><url>https://repo.maven.apache.org/maven2</url></repository>
  </repositories>
  <dependencies>
    <dependency><groupId>org.apache.spark</groupId><artifactId>spark-sql-kafka-0-10_2.13</artifactId><version>VERSION</version></dependency>
  </dependencies>
</project>
"#;
/// What of the connector's dependencies Spark does not have itself.
const JARS: &str =
    "spark-sql-kafka-0-10_2.13,spark-token-provider-kafka-0-10_2.13,kafka-clients,commons-pool2";

/// Sees that `.deps/spark` holds PySpark in `python`, and the connector in `libs`.
pub(crate) fn fetch(places: &Places) -> Result<(), Failure> {
    let folder = fetch::folder(&places.cache, &format!("spark-{VERSION}"), download)?;
    if !places.link("spark", &folder)? {
        println!("Spark {VERSION} is in .deps/spark");
    }
    Ok(())
}

fn download(folder: &Path) -> Result<(), Failure> {
    packages::install(packages::SPARK)?;
    let pyspark = format!("pyspark=={VERSION}");
    Step::new("python3")
        .args([
            "-m", "pip", "install", "--quiet", "--target", "python", &pyspark,
        ])
        .within(folder)
        .run()?;
    let options = [format!("-DincludeArtifactIds={JARS}")];
    fetch::jars(folder, &POM.replace("VERSION", VERSION), &options)
}
