//! Last values and keys of devices whose rows have many shapes.
