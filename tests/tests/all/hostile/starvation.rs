//! Each limit, with one tenant at it and another unhurt.
