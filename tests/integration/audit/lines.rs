//! What stands in a line.
