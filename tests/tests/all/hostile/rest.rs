//! What anybody does with the REST API before and after a log-in.
