//! Clocks that are wrong: nothing is removed early, nothing stops.
