//! The points of one device, as they are gathered from chunks and rows of the log into buckets: one series for each key, or
//! for each key and topic.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use pocket_domain::{Aggregate, AggregateQuery, DeviceId, GroupBy, LeafPath, Payload, Series, TopicName};
use pocket_telemetry_codec::{Chunk, Damaged, LeafReader, Numbers};

use super::buckets::{Buckets, Times};
use super::key_paths::{KeyPaths, Paths};
use super::log::Found;

/// The key that a series is of, by its place in the query, and its topic; 0 for all topics.
type Of = (usize, i64);

/// The points of a device.
pub(super) struct Gathered {
    query: Arc<AggregateQuery>,
    series: BTreeMap<Of, Buckets>,
    /// The topics of the points of each key.
    topics: Vec<BTreeSet<i64>>,
    paths: KeyPaths,
}

impl Gathered {
    pub(super) fn new(query: &Arc<AggregateQuery>) -> Self {
        let topics = vec![BTreeSet::new(); query.keys.len()];
        let mut new = Self { query: Arc::clone(query), series: BTreeMap::new(), topics, paths: KeyPaths::new(query) };
        if !new.is_by_topic() {
            for place in 0..query.keys.len() {
                new.buckets((place, 0));
            }
        }
        new
    }

    fn is_by_topic(&self) -> bool {
        self.query.group_by == GroupBy::Topic
    }

    fn buckets(&mut self, of: Of) -> &mut Buckets {
        self.series.entry(of).or_insert_with(|| Buckets::new(self.query.keys[of.0].clone(), &self.query))
    }

    /// How many series there are.
    pub(super) fn count(&self) -> usize {
        self.series.len()
    }

    /// The topics of points.
    pub(super) fn topics(&self) -> HashSet<i64> {
        if self.is_by_topic() { self.topics.iter().flatten().copied().collect() } else { HashSet::new() }
    }

    /// Those of the topics whose names have to be [learnt](Self::learn) before their points are taken.
    pub(super) fn unknown(&self, topics: impl Iterator<Item = i64>) -> HashSet<i64> {
        self.paths.unknown(topics)
    }

    /// Takes names of topics.
    pub(super) fn learn(&mut self, names: &HashMap<i64, TopicName>) {
        self.paths.learn(names);
    }

    /// Takes the points of a chunk, and tells how many rows it has.
    pub(super) fn add_chunk(&mut self, content: &[u8], wanted_topics: Option<&HashSet<i64>>) -> Result<usize, Damaged> {
        let chunk = Chunk::open(content)?;
        let is_wanted = |topic: &i64| wanted_topics.is_none_or(|topics| topics.contains(topic));
        let parts = self.paths.parts(chunk.topics().iter().copied().filter(is_wanted));
        let parts: Vec<(Paths, Vec<i64>)> = parts.into_iter().map(|(paths, topics)| (paths.clone(), topics)).collect();
        if parts.is_empty() {
            return Ok(0);
        }
        let timestamps = chunk.timestamps()?;
        let is_ordered = matches!(self.query.aggregate, Aggregate::First | Aggregate::Last);
        let ids = if is_ordered { chunk.ids()? } else { Vec::new() };
        // All columns first, so that a chunk that is damaged counts for nothing.
        let paths: Vec<LeafPath> =
            parts.iter().flat_map(|(paths, _)| paths.iter()).collect::<BTreeSet<_>>().into_iter().cloned().collect();
        let columns = columns(&chunk, &paths)?;
        let column_of = |path: &LeafPath| columns[paths.binary_search(path).ok()?].as_ref();
        let is_whole = |topics: &[i64]| topics.len() == chunk.topics().len();
        let is_clear = |(paths, topics): &(Paths, Vec<i64>)| {
            is_whole(topics) && (topics.len() == 1 || self.are_known(topics, paths.iter().map(column_of)))
        };
        let row_topics = if parts.iter().all(is_clear) { Vec::new() } else { chunk.row_topics()? };
        for (paths, topics) in &parts {
            let wanted: Option<Vec<bool>> = (!is_whole(topics)).then(|| {
                let topics: HashSet<i64> = topics.iter().copied().collect();
                row_topics.iter().map(|topic| topics.contains(topic)).collect()
            });
            let times = Times { timestamps: &timestamps, ids: &ids, wanted: wanted.as_deref() };
            for (place, numbers) in paths.iter().map(column_of).enumerate() {
                let Some(numbers) = numbers else { continue };
                match topics.as_slice() {
                    [topic] => self.add_column((place, *topic), numbers, &times),
                    _ if self.is_by_topic() => self.add_apart(place, numbers, &times, &row_topics),
                    _ => {
                        self.note_topics(place, numbers, &times, &row_topics);
                        self.buckets((place, 0)).add_all(numbers, &times);
                    }
                }
            }
        }
        Ok(chunk.len())
    }

    /// Whether it need not be looked at which topic each point of these columns has: they share a series, and each topic is known to
    /// have points.
    fn are_known<'a>(&self, topics: &[i64], columns: impl Iterator<Item = Option<&'a Numbers>>) -> bool {
        let mut there = columns.enumerate().filter(|(_, numbers)| numbers.is_some());
        !self.is_by_topic() && there.all(|(place, _)| topics.iter().all(|topic| self.topics[place].contains(topic)))
    }

    /// Adds points of one topic.
    fn add_column(&mut self, (place, topic): Of, numbers: &Numbers, times: &Times<'_>) {
        let of = (place, if self.is_by_topic() { topic } else { 0 });
        let buckets = self.buckets(of);
        let before = buckets.points();
        buckets.add_all(numbers, times);
        if buckets.points() > before {
            self.topics[place].insert(topic);
        } else if before == 0 && of.1 != 0 {
            self.series.remove(&of);
        }
    }

    /// Adds points of several topics to the series of each.
    fn add_apart(&mut self, place: usize, numbers: &Numbers, times: &Times<'_>, row_topics: &[i64]) {
        for (row, point) in self.in_time(numbers, times).collect::<Vec<_>>() {
            self.topics[place].insert(row_topics[row]);
            self.buckets((place, row_topics[row])).add(point, times.place(row));
        }
    }

    fn note_topics(&mut self, place: usize, numbers: &Numbers, times: &Times<'_>, row_topics: &[i64]) {
        if !row_topics.is_empty() {
            let topics: HashSet<i64> = self.in_time(numbers, times).map(|(row, _)| row_topics[row]).collect();
            self.topics[place].extend(topics);
        }
    }

    /// The points that are asked for.
    fn in_time<'a>(&self, numbers: &'a Numbers, times: &'a Times<'_>) -> impl Iterator<Item = (usize, f64)> + use<'a> {
        let range = self.query.from.as_millis()..self.query.to.as_millis();
        numbers.iter().filter(move |(row, _)| {
            range.contains(&times.timestamps[*row]) && times.wanted.is_none_or(|wanted| wanted[*row])
        })
    }

    /// Takes the points of rows of the log.
    pub(super) fn add_rows(&mut self, rows: &[Found]) {
        let mut reader = LeafReader::new();
        let mut points = vec![None; self.query.keys.len()];
        for Found { row, .. } in rows {
            points_of(&mut reader, &row.payload, self.paths.of(row.topic), &mut points);
            for (place, point) in points.iter().enumerate() {
                let Some((point, _)) = point else { continue };
                self.topics[place].insert(row.topic);
                let topic = if self.is_by_topic() { row.topic } else { 0 };
                self.buckets((place, topic)).add(*point, (row.timestamp, row.id.cast_signed()));
            }
        }
    }

    /// The series that they make, by key, then by the name of the topic; those of a topic that is gone are left out.
    pub(super) fn into_series(self, device: DeviceId, names: &HashMap<i64, TopicName>) -> Vec<Series> {
        let is_by_topic = self.is_by_topic();
        let mut all = Vec::with_capacity(self.series.len());
        for ((place, topic), buckets) in self.series {
            let (topic, topics) = match is_by_topic {
                true => match names.get(&topic) {
                    Some(name) => (Some(name.clone()), 1),
                    None => continue,
                },
                false => (None, self.topics[place].len() as u64),
            };
            all.push((place, buckets.series(device, topic, topics, &self.query)));
        }
        all.sort_by(|(place, one), (other_place, other)| (place, &one.topic).cmp(&(other_place, &other.topic)));
        all.into_iter().map(|(_, series)| series).collect()
    }
}

/// The topics of the rows of a chunk.
pub(super) fn topics_of(content: &[u8]) -> Result<Vec<i64>, Damaged> {
    Ok(Chunk::open(content)?.topics().to_vec())
}

/// The points of a chunk at each key: its numbers, and its truth values in rows that have no number there.
fn columns(chunk: &Chunk<'_>, keys: &[LeafPath]) -> Result<Vec<Option<Numbers>>, Damaged> {
    let mut columns: Vec<Option<Numbers>> = keys.iter().map(|key| numbers_of(chunk, key)).collect::<Result<_, _>>()?;
    let has_gap = |numbers: &Option<Numbers>| numbers.as_ref().is_none_or(|numbers| numbers.rows().is_some());
    if !columns.iter().any(has_gap) {
        return Ok(columns);
    }
    let (skeletons, _) = chunk.skeletons(|_, has_texts| has_texts)?;
    let places: Vec<Vec<Option<usize>>> = skeletons
        .into_iter()
        .map(|payload| payload.map_or_else(Vec::new, |payload| places_of(payload, keys)))
        .collect();
    for (at, column) in columns.iter_mut().enumerate().filter(|(_, column)| has_gap(column)) {
        let Some(truths) = chunk.truths(|shape| *places[shape].get(at)?)? else { continue };
        *column = Some(column.as_ref().map_or_else(|| truths.clone(), |numbers| truths.or(numbers)));
    }
    Ok(columns)
}

/// Which value of a payload is at each key, told by the payload that has the numbers of its values as values.
fn places_of(payload: String, keys: &[LeafPath]) -> Vec<Option<usize>> {
    let payload = Payload::from_stored(payload);
    let leaves = payload.leaves();
    let place = |key: &LeafPath| Some(leaves.iter().find(|leaf| leaf.path == *key)?.value.number()? as usize);
    keys.iter().map(place).collect()
}

/// Whether there can be truth values in a payload.
fn may_have_truths(payload: &str) -> bool {
    payload.contains("true") || payload.contains("false")
}

/// The truth values of a payload at keys, by their places.
fn truths_of(payload: String, keys: &[LeafPath]) -> Vec<(usize, f64)> {
    let payload = Payload::from_stored(payload);
    let truths = payload.leaves().into_iter().filter(|leaf| leaf.value.number().is_none());
    let found = truths.filter_map(|leaf| Some((keys.iter().position(|key| *key == leaf.path)?, leaf.value.point()?)));
    found.collect()
}

/// The numbers of a chunk at a key: those of payloads that have it, and those of payloads that have it within `values`. A
/// chunk keeps both apart, as they were published.
fn numbers_of(chunk: &Chunk<'_>, key: &LeafPath) -> Result<Option<Numbers>, Damaged> {
    let Some(member) = key.member() else { return of_root(chunk, false) };
    let beside = if member == LeafPath::ROOT { of_root(chunk, true)? } else { chunk.numbers(member)? };
    let within = chunk.numbers(&format!("{}{member}", LeafPath::WRAPPER))?;
    Ok(match (beside, within) {
        (Some(beside), Some(within)) => Some(beside.or(&within)),
        (beside, within) => beside.or(within),
    })
}

/// The numbers that a chunk has at `$`: of payloads that are numbers, or of objects with this key.
fn of_root(chunk: &Chunk<'_>, of_objects: bool) -> Result<Option<Numbers>, Damaged> {
    let Some(numbers) = chunk.numbers(LeafPath::ROOT)? else { return Ok(None) };
    let (objects, shapes) = chunk.skeletons(|payload, _| Payload::is_object(payload))?;
    if objects.iter().all(|object| object.is_some() == of_objects) {
        return Ok(Some(numbers));
    }
    Ok(Some(numbers.kept(|row| objects[shapes[row] as usize].is_some() == of_objects)))
}

/// The points of a payload at keys, each with whether it is within `values`.
fn points_of(reader: &mut LeafReader, payload: &str, keys: &[LeafPath], points: &mut [Option<(f64, bool)>]) {
    points.fill(None);
    let of_object = Payload::is_object(payload);
    for (path, point) in reader.leaves(payload) {
        let (path, is_within) = LeafPath::unwrapped(path).map_or((path, false), |path| (path, true));
        for (key, found) in keys.iter().zip(points.iter_mut()) {
            let is_meant =
                key.member().map_or(!of_object && path == LeafPath::ROOT, |member| of_object && member == path);
            if is_meant && (is_within || found.is_none_or(|(_, is_within)| !is_within)) {
                *found = Some((point, is_within));
            }
        }
    }
    if points.iter().any(Option::is_none) && may_have_truths(payload) {
        for (place, truth) in truths_of(payload.to_owned(), keys) {
            points[place].get_or_insert((truth, false));
        }
    }
}
