//! The branches of a node in the tree of filters, by their level.

use std::collections::{BTreeMap, HashMap};

/// What a node branches into.
pub(crate) trait Branch {
    /// The most nodes that one topic visits from there on.
    fn reach(&self) -> u32;
}

/// The branches of a node by their level. Most nodes have one or two, and some have as many as there are devices.
#[derive(Debug)]
pub(crate) enum Children<B> {
    Few(Vec<(Box<str>, B)>),
    Many(Box<Many<B>>),
}

#[derive(Debug)]
pub(crate) struct Many<B> {
    branches: HashMap<Box<str>, B>,
    /// How many branches have each reach.
    reaches: BTreeMap<u32, usize>,
}

impl<B> Default for Children<B> {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl<B: Branch> Children<B> {
    /// Branches that are searched one after the other.
    const FEW: usize = 8;

    pub(crate) fn get(&self, level: &str) -> Option<&B> {
        match self {
            Self::Few(branches) => branches.iter().find(|(name, _)| **name == *level).map(|(_, branch)| branch),
            Self::Many(many) => many.branches.get(level),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Few(branches) => branches.is_empty(),
            Self::Many(many) => many.branches.is_empty(),
        }
    }

    /// The largest reach of a branch; 0 when there is none.
    pub(crate) fn reach(&self) -> u32 {
        match self {
            Self::Few(branches) => branches.iter().map(|(_, branch)| branch.reach()).max().unwrap_or(0),
            Self::Many(many) => many.reaches.last_key_value().map_or(0, |(reach, _)| *reach),
        }
    }

    /// Changes the branch of a level, which may be missing before or afterwards.
    pub(crate) fn change<R>(&mut self, level: &str, change: impl FnOnce(&mut Option<B>) -> R) -> R {
        match self {
            Self::Few(branches) => {
                let found = branches.iter().position(|(name, _)| **name == *level);
                let mut taken = found.map(|place| branches.swap_remove(place));
                let name = taken.as_mut().map(|(name, _)| std::mem::take(name));
                let mut branch = taken.map(|(_, branch)| branch);
                let result = change(&mut branch);
                if let Some(branch) = branch {
                    if branches.len() == branches.capacity() {
                        // One at a time: nodes with one branch are the most.
                        branches.reserve_exact(1);
                    }
                    branches.push((name.unwrap_or_else(|| level.into()), branch));
                }
                if branches.len() > Self::FEW {
                    *self = Self::Many(Box::new(Many::new(std::mem::take(branches))));
                }
                result
            }
            Self::Many(many) => {
                let result = many.change(level, change);
                if many.branches.is_empty() {
                    *self = Self::default();
                }
                result
            }
        }
    }
}

impl<B: Branch> Many<B> {
    fn new(few: Vec<(Box<str>, B)>) -> Self {
        let mut reaches = BTreeMap::new();
        for (_, branch) in &few {
            *reaches.entry(branch.reach()).or_default() += 1;
        }
        Self { branches: few.into_iter().collect(), reaches }
    }

    fn change<R>(&mut self, level: &str, change: impl FnOnce(&mut Option<B>) -> R) -> R {
        let taken = self.branches.remove_entry(level);
        if let Some((_, branch)) = &taken {
            self.forget(branch.reach());
        }
        let (name, mut branch) = taken.unzip();
        let result = change(&mut branch);
        if let Some(branch) = branch {
            *self.reaches.entry(branch.reach()).or_default() += 1;
            self.branches.insert(name.unwrap_or_else(|| level.into()), branch);
        }
        if self.branches.capacity() > 4 * self.branches.len() + 64 {
            self.branches.shrink_to(2 * self.branches.len());
        }
        result
    }

    fn forget(&mut self, reach: u32) {
        if let Some(count) = self.reaches.get_mut(&reach) {
            *count -= 1;
            if *count == 0 {
                self.reaches.remove(&reach);
            }
        }
    }
}
