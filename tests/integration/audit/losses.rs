//! Lines that cannot be written.
