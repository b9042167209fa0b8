//! Runs the pipeline: stages, threads, memory budget, commits, recovery and loads.
