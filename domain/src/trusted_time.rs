//! Time by which something may be removed, though the wall clock may be wrong.
//!
//! The wall clock can be years ahead or behind, at the start and while the process runs. The clock that only counts on is
//! right while the process runs, and says nothing about the time before. From both follow two times:
//!
//! - the *trusted* time goes on as the counting clock does. Where the wall clock is ahead of it, nothing is removed by the
//!   wall clock until that has said the same for long enough: a twenty-fourth of the jump, a day at most. Where the wall
//!   clock is behind, less is removed. [`as_of`](TrustedTime::as_of) is the earlier of the two.
//! - the *steady* time only ever goes on by what certainly passed, for intervals: how long a session has been away.

use std::time::Duration;

use crate::Timestamp;

/// By how much the two clocks may differ without a jump, and what a step of the wall clock by a time service is.
const SLACK: Duration = Duration::from_secs(2);
/// A jump that is worth a line in the log.
const TOLD: Duration = Duration::from_secs(60);
/// How long the wall clock has to say the same, at most; and after which time of agreement the trusted time is proven.
const LONGEST_DOUBT: Duration = Duration::from_secs(86_400);
/// A jump is believed after this part of it.
const PART: u32 = 24;
/// How much of the time between two processes counts as passed. What seems longer is taken for a jump.
const LONGEST_ABSENCE: Duration = Duration::from_secs(3_600);

/// What the next process has to know about time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeMark {
    /// The trusted time.
    pub trusted: Timestamp,
    /// For how long the wall clock agreed with it, a day at most.
    pub proven: Duration,
    /// The steady time.
    pub steady: Timestamp,
    /// What the wall clock showed.
    pub wall: Timestamp,
}

/// What storage knows about the time before a process started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LastSeen {
    /// The mark that was kept last.
    pub mark: Option<TimeMark>,
    /// When the newest message was received, as far as that is known. Matters where there is no mark.
    pub newest: Option<Timestamp>,
}

/// What the wall clock did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jump {
    /// It is ahead of the trusted time by this much, and not believed for the time being.
    Ahead {
        /// How far ahead it is.
        by: Duration,
        /// For how long it has to say the same until it is believed.
        believed_after: Duration,
    },
    /// It is behind the trusted time by this much.
    Behind(Duration),
    /// It has said the same for long enough: this is the trusted time from now on.
    Believed(Timestamp),
}

/// Follows two clocks.
#[derive(Clone, Copy, Debug)]
pub struct TrustedTime {
    mark: TimeMark,
    doubt: Option<Doubt>,
}

/// A difference between the wall clock and the trusted time.
#[derive(Clone, Copy, Debug)]
struct Doubt {
    millis: i64,
    lasted: Duration,
}

impl TrustedTime {
    /// Begins with what storage knows, and what the wall clock shows.
    pub fn begin(last: LastSeen, wall: Timestamp) -> Self {
        let mark = match last.mark {
            Some(mark) => {
                let absence = wall.since(mark.wall);
                let counted = if absence <= LONGEST_ABSENCE { absence } else { Duration::ZERO };
                TimeMark { steady: mark.steady.plus(counted), wall, ..mark }
            }
            None => {
                let trusted = last.newest.map_or(wall, |newest| newest.min(wall));
                TimeMark { trusted, proven: Duration::ZERO, steady: wall, wall }
            }
        };
        Self { mark, doubt: None }
    }

    /// Goes on: `elapsed` is what the counting clock says since the last call. Tells what is new about the wall clock.
    pub fn pass(&mut self, wall: Timestamp, elapsed: Duration) -> Option<Jump> {
        let mark = &mut self.mark;
        (mark.wall, mark.steady, mark.trusted) = (wall, mark.steady.plus(elapsed), mark.trusted.plus(elapsed));
        let millis = wall.as_millis() - mark.trusted.as_millis();
        let size = Duration::from_millis(millis.unsigned_abs());
        if size <= SLACK {
            mark.trusted = wall;
            mark.proven = (mark.proven + elapsed).min(LONGEST_DOUBT);
            self.doubt = None;
            return None;
        }
        if millis < 0 && mark.proven < LONGEST_DOUBT {
            // Nothing speaks for the time before, and the earlier of two removes less.
            (mark.trusted, mark.proven, self.doubt) = (wall, Duration::ZERO, None);
            return (size >= TOLD).then_some(Jump::Behind(size));
        }
        let believed_after = (size / PART).min(LONGEST_DOUBT);
        let same = self.doubt.filter(|doubt| doubt.millis.abs_diff(millis) <= SLACK.as_millis() as u64);
        let lasted = same.map_or(Duration::ZERO, |doubt| doubt.lasted + elapsed);
        if same.is_some() && lasted >= believed_after {
            (mark.trusted, mark.proven, self.doubt) = (wall, lasted.min(LONGEST_DOUBT), None);
            return (size >= TOLD).then_some(Jump::Believed(wall));
        }
        self.doubt = Some(Doubt { millis: same.map_or(millis, |doubt| doubt.millis), lasted });
        let is_new = same.is_none() && size >= TOLD;
        is_new.then_some(if millis < 0 { Jump::Behind(size) } else { Jump::Ahead { by: size, believed_after } })
    }

    /// The time as of which what is too old may be removed.
    pub fn as_of(&self) -> Timestamp {
        self.mark.trusted.min(self.mark.wall)
    }

    /// The time that only goes on, by what passed.
    pub fn steady(&self) -> Timestamp {
        self.mark.steady
    }

    /// For the next process.
    pub fn mark(&self) -> TimeMark {
        self.mark
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600;
    const DAY: i64 = 24 * HOUR;
    const YEAR: i64 = 365 * DAY;
    const RIGHT: i64 = 50 * YEAR;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000).unwrap()
    }

    /// A process whose wall clock shows the right time and so many seconds more.
    struct Process {
        time: TrustedTime,
        right: i64,
    }

    impl Process {
        fn start(last: LastSeen, right: i64, off: i64) -> Self {
            let mut time = TrustedTime::begin(last, at(right + off));
            time.pass(at(right + off), Duration::ZERO);
            Self { time, right }
        }

        fn run(&mut self, seconds: i64, off: i64) -> Vec<Jump> {
            let mut jumps = Vec::new();
            for _ in 0..seconds / 60 {
                self.right += 60;
                jumps.extend(self.time.pass(at(self.right + off), Duration::from_secs(60)));
            }
            jumps
        }

        fn ends(self) -> LastSeen {
            LastSeen { mark: Some(self.time.mark()), newest: None }
        }

        /// How far the time of removals is from the right time, in seconds.
        fn error(&self) -> i64 {
            self.time.as_of().as_millis() / 1_000 - self.right
        }
    }

    #[test]
    fn a_clock_that_is_right_is_followed() {
        let mut process = Process::start(LastSeen::default(), RIGHT, 0);
        assert_eq!((process.run(DAY, 0), process.error()), (vec![], 0));
        // Small steps of a time service are no jumps.
        assert_eq!((process.run(HOUR, 1), process.error()), (vec![], 1));
    }

    #[test]
    fn a_clock_that_jumps_ahead_for_a_while_removes_nothing() {
        for by in [DAY, 40 * DAY, 10 * YEAR] {
            let mut process = Process::start(LastSeen::default(), RIGHT, 0);
            process.run(HOUR, 0);
            let jumps = process.run(HOUR / 2, by);
            assert!(matches!(jumps[..], [Jump::Ahead { .. }]), "{jumps:?}");
            assert_eq!(process.error(), 0);
            assert_eq!((process.run(HOUR, 0), process.error()), (vec![], 0));
        }
    }

    #[test]
    fn a_clock_that_says_the_same_for_long_enough_is_believed() {
        let mut process = Process::start(LastSeen::default(), RIGHT, 0);
        process.run(HOUR, 0);
        process.run(DAY - HOUR, 10 * YEAR);
        assert_eq!(process.error(), 0);
        assert!(matches!(process.run(2 * HOUR, 10 * YEAR)[..], [Jump::Believed(_)]));
        assert_eq!(process.error(), 10 * YEAR);
        // After a night without power an hour is enough, or less.
        let mut process = Process::start(LastSeen::default(), RIGHT, 0);
        process.run(HOUR, 0);
        let mut process = Process::start(process.ends(), RIGHT + 9 * HOUR, 0);
        assert!(process.error() < 0);
        process.run(HOUR / 2, 0);
        assert_eq!(process.error(), 0);
    }

    #[test]
    fn a_clock_that_is_behind_removes_less_and_then_waits() {
        let mut process = Process::start(LastSeen::default(), RIGHT, 0);
        process.run(HOUR, 0);
        assert!(matches!(process.run(HOUR, -YEAR)[..], [Jump::Behind(_)]));
        assert_eq!(process.error(), -YEAR);
        process.run(HOUR, 0);
        assert!(process.error() < 0);
        process.run(DAY, 0);
        assert_eq!(process.error(), 0);
    }

    #[test]
    fn a_machine_without_a_clock_of_its_own_goes_on_at_once_when_it_knows_the_time() {
        let mut process = Process::start(LastSeen::default(), RIGHT, 0);
        process.run(2 * DAY, 0);
        let mut process = Process::start(process.ends(), RIGHT + 2 * DAY + HOUR, -RIGHT);
        process.run(120, -RIGHT);
        assert!(process.error() < -RIGHT / 2);
        process.run(600, 0);
        assert_eq!(process.error(), 0);
    }

    #[test]
    fn nothing_is_removed_early_whatever_the_clock_says_back_and_forth() {
        let clocks = [0, 10 * YEAR, -10 * YEAR, 40 * DAY, -HOUR];
        for first in clocks {
            for second in clocks {
                for third in clocks {
                    let mut process = Process::start(LastSeen::default(), RIGHT, first);
                    process.run(HOUR / 2, first);
                    process = Process::start(process.ends(), RIGHT + HOUR, second);
                    process.run(HOUR / 2, second);
                    process.run(HOUR / 2, third);
                    process.run(HOUR / 2, second);
                    process = Process::start(process.ends(), RIGHT + 3 * HOUR, third);
                    process.run(HOUR / 2, third);
                    // Rows that were received while the clock showed no more than at any time are young by it.
                    let most = [first, second, third].into_iter().min().unwrap();
                    assert!(process.error() <= most + 2 * HOUR, "{first} {second} {third}: {}", process.error());
                }
            }
        }
    }

    #[test]
    fn without_a_mark_the_newest_message_is_what_is_known() {
        let last = LastSeen { mark: None, newest: Some(at(RIGHT)) };
        let mut process = Process::start(last, RIGHT + 60, 10 * YEAR);
        process.run(HOUR, 10 * YEAR);
        assert!(process.error() <= 0);
        // It may have been received while the clock was ahead.
        let last = LastSeen { mark: None, newest: Some(at(RIGHT + YEAR)) };
        assert_eq!(Process::start(last, RIGHT, 0).error(), 0);
    }

    #[test]
    fn the_steady_time_only_goes_on_by_what_passed() {
        let mut process = Process::start(LastSeen::default(), RIGHT, 0);
        let steady = |process: &Process| process.time.steady().as_millis() / 1_000 - RIGHT;
        for (off, passed) in [(0, HOUR), (YEAR, 2 * HOUR), (-YEAR, 3 * HOUR)] {
            process.run(HOUR, off);
            assert_eq!(steady(&process), passed);
        }
        process.run(HOUR, 0);
        for (absence, off, counted) in [(60, 0, 60), (60, YEAR, 0), (HOUR, 0, HOUR), (HOUR + 60, 0, 0), (60, -YEAR, 0)]
        {
            let last = LastSeen { mark: Some(process.time.mark()), newest: None };
            let next = Process::start(last, process.right + absence, off);
            assert_eq!(steady(&next) - steady(&process), counted, "{absence} {off}");
        }
    }
}
