//! Each role of each tenant on each route with ids of its own tenant, of another and of nobody.
