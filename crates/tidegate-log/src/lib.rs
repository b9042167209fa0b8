//! The commit log: one ordered list of records that says what a job has done.
