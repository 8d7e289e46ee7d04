//! The share of a limit that one tenant may take.

/// How much of a common limit one tenant may hold, in percent of what it would hold alone.
///
/// The share is dynamic, as switches share packet memory (Choudhury and Hahne, "Dynamic Queue Length Thresholds", 1998): a tenant
/// may take more while it holds less than `share / (100 - share)` times what is free. Alone it gets `share` percent of the limit, two
/// get less each, and whoever comes next always finds some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TenantShare(usize);

impl TenantShare {
    /// A share in percent, from 1 to 100. 100: no limit but the common one.
    pub fn of_percent(percent: u8) -> Self {
        Self(usize::from(percent).clamp(1, 100))
    }

    /// Whether a tenant that holds so much may take more, when so much of the limit is free.
    pub fn allows(self, held: usize, free: usize) -> bool {
        self.0 == 100 || held.saturating_mul(100 - self.0) < free.saturating_mul(self.0)
    }
}

impl Default for TenantShare {
    fn default() -> Self {
        Self(80)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a tenant gets of a limit of which others hold so much.
    fn most(share: u8, limit: usize, others: usize) -> usize {
        let allows = |held: &usize| TenantShare::of_percent(share).allows(*held, limit - others - held);
        (0..limit - others).take_while(allows).count()
    }

    #[test]
    fn a_tenant_alone_gets_its_share_and_the_next_always_finds_some() {
        assert_eq!([most(80, 1_000, 0), most(50, 1_000, 0), most(100, 1_000, 0)], [800, 500, 1_000]);
        assert_eq!([most(80, 1_000, 800), most(80, 1_000, 990), most(80, 1_000, 999)], [160, 8, 1]);
    }
}
