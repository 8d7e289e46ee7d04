//! Tables of topics and keys have an end.
