//! Pages of the registries: a limit, an offset, and how many there are in all.

use crate::Invalid;

/// Which part of a registry is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct PageRequest {
    limit: PageLimit,
    offset: u64,
}

impl PageRequest {
    /// Entries on a page when the caller names no limit.
    pub const DEFAULT_LIMIT: u32 = 100;
    /// The most entries on a page.
    pub const MAX_LIMIT: u32 = 1_000;
    /// The furthest offset; beyond it every integer column of a database is exceeded.
    pub const MAX_OFFSET: u64 = i64::MAX as u64;

    /// A page of `limit` entries that begins after `offset` entries.
    ///
    /// # Errors
    /// When the limit is not in 1..=1,000 or the offset does not fit.
    pub fn new(limit: Option<u64>, offset: Option<u64>) -> Result<Self, Invalid> {
        let offset = offset.unwrap_or(0);
        if offset > Self::MAX_OFFSET {
            return Err(Invalid::new("offset", format!("must be 0 to {}", Self::MAX_OFFSET)));
        }
        Ok(Self { limit: PageLimit::parse(limit)?, offset })
    }

    /// Entries at the most.
    pub fn limit(self) -> u32 {
        self.limit.get()
    }

    /// Entries passed over.
    pub fn offset(self) -> u64 {
        self.offset
    }
}

/// How many entries a page has at the most: 1 to 1,000, 100 when nothing is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageLimit(u32);

impl PageLimit {
    /// Parses a limit.
    ///
    /// # Errors
    /// When it is not in 1..=1,000.
    pub fn parse(limit: Option<u64>) -> Result<Self, Invalid> {
        match limit {
            None => Ok(Self::default()),
            Some(limit) => u32::try_from(limit)
                .ok()
                .filter(|limit| (1..=PageRequest::MAX_LIMIT).contains(limit))
                .map(Self)
                .ok_or_else(|| Invalid::new("limit", format!("must be 1 to {}", PageRequest::MAX_LIMIT))),
        }
    }

    /// The number.
    pub fn get(self) -> u32 {
        self.0
    }
}

impl Default for PageLimit {
    fn default() -> Self {
        Self(PageRequest::DEFAULT_LIMIT)
    }
}

/// One page of a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The entries, in the registry's order.
    pub items: Vec<T>,
    /// How many entries there are on all pages.
    pub total: u64,
}

impl<T> Page<T> {
    /// The same page with every entry turned into something else.
    pub fn map<U>(self, turn: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(turn).collect(), total: self.total }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_has_two_ends() {
        assert_eq!(PageRequest::new(None, None), Ok(PageRequest::default()));
        assert_eq!(PageRequest::new(Some(1), Some(3)).unwrap().limit(), 1);
        assert_eq!(PageRequest::new(Some(1_000), None).unwrap().limit(), 1_000);
        for limit in [0, 1_001, u64::MAX] {
            assert_eq!(PageRequest::new(Some(limit), None).unwrap_err().field, "limit");
        }
        assert_eq!(PageRequest::new(None, Some(u64::MAX)).unwrap_err().field, "offset");
    }
}
