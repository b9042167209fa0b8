//! Amazon Redshift's Data API over a PostgreSQL, as strict as Redshift: for tests.
