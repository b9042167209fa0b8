//! Where rows go: loads committed files into a warehouse, each exactly once.
