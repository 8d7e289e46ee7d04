//! The shapes of payloads, each kept once, and the reading of a payload by them.
//!
//! A payload is first held against the shapes that came last, which needs no look at keys and paths. Both ways find the
//! same values: where a value ends depends on its own text only.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use crate::MAX_PAYLOAD_VALUES;
use crate::encoding::KeyLimit;
use crate::limits::MAX_DEPTH;
use crate::path::{Paths, Place};
use crate::scan::{self, Found, Kind};
use crate::shape::{self, Hole, Shape};

/// How many shapes a payload is held against before its keys are read.
const TRIED: usize = 8;

/// All shapes seen so far.
pub(crate) struct ShapeTable {
    paths: Paths,
    shapes: Vec<Shape>,
    /// The last shape of each hash, and for each shape the one before it with the same hash.
    by_hash: HashMap<u64, usize>,
    before: Vec<usize>,
    hashes: RandomState,
    /// The shape of payloads that are one text without anything around it.
    whole: Option<usize>,
    /// The last ones, the latest first.
    recent: Vec<usize>,
    /// Bytes of the shapes' texts and holes.
    bytes: usize,
    /// Counts objects, so that a key that stands twice in one is noticed.
    objects: u64,
}

/// The values of one payload on the way to its shape.
#[derive(Default)]
struct Reading {
    found: Vec<Found>,
    places: Vec<Place>,
    /// Values that a later value of the same key replaces.
    replaced: Vec<bool>,
    /// How many keys there were.
    keys: usize,
}

/// An object whose end is not reached.
struct Open {
    object: u64,
    place: Place,
    /// The place of the key whose value is being read, and how many values came before it.
    key: (Place, usize),
}

impl ShapeTable {
    /// About the bytes of a shape beside its text, and of a hole.
    pub(crate) const OF_SHAPE: usize = 200;
    pub(crate) const OF_HOLE: usize = 32;

    pub(crate) fn new() -> Self {
        Self {
            paths: Paths::new(),
            shapes: Vec::new(),
            by_hash: HashMap::new(),
            before: Vec::new(),
            hashes: RandomState::new(),
            whole: None,
            recent: Vec::new(),
            bytes: 0,
            objects: 0,
        }
    }

    pub(crate) fn paths(&self) -> &Paths {
        &self.paths
    }

    pub(crate) fn shape(&self, shape: usize) -> &Shape {
        &self.shapes[shape]
    }

    pub(crate) fn shapes(&self) -> &[Shape] {
        &self.shapes
    }

    /// The paths at which a reader of the payloads finds values, each once.
    pub(crate) fn live_paths(&self) -> Vec<Box<str>> {
        let mut is_live = vec![false; self.paths.columns()];
        let holes = self.shapes.iter().flat_map(Shape::holes);
        holes.filter(|hole| hole.live).for_each(|hole| is_live[hole.column] = true);
        let live = is_live.iter().enumerate().filter(|(_, live)| **live);
        live.filter_map(|(column, _)| self.paths.path(column).map(Box::from)).collect()
    }

    /// About how many bytes it takes.
    pub(crate) fn size(&self) -> usize {
        self.bytes + Self::OF_SHAPE * self.shapes.len() + self.paths.bytes()
    }

    /// The shape of a payload, and its values, one a hole. A payload with more keys than the limit leaves room for is one text.
    #[inline]
    pub(crate) fn read(&mut self, payload: &str, found: &mut Vec<Found>, keys: Option<&mut KeyLimit>) -> usize {
        for at in 0..self.recent.len() {
            let shape = self.recent[at];
            if self.shapes[shape].matches(payload.as_bytes(), found) {
                self.recent[..=at].rotate_right(1);
                return shape;
            }
        }
        self.read_keys(payload, found, keys)
    }

    /// The shape of a payload that is kept as one text, whatever it says.
    pub(crate) fn read_whole(&mut self, payload: &str, found: &mut Vec<Found>) -> usize {
        found.clear();
        found.push(Found { start: 0, end: payload.len(), kind: Kind::Text });
        let column = self.paths.pathless();
        match self.whole {
            Some(whole) => whole,
            None => {
                let shape = self.push(Shape::new("", &[Found::EMPTY], [Hole { column, live: false }].into()));
                self.whole = Some(shape);
                shape
            }
        }
    }

    /// Whether payloads of a shape are kept as one text.
    pub(crate) fn is_whole(&self, shape: usize) -> bool {
        self.whole == Some(shape)
    }

    fn read_keys(&mut self, payload: &str, found: &mut Vec<Found>, keys: Option<&mut KeyLimit>) -> usize {
        let Some(reading) = self.walk(payload) else { return self.read_whole(payload, found) };
        let hash = self.hash_of(payload, &reading.found);
        let shape = match self.known(payload, &reading.found, hash) {
            Some(shape) => shape,
            None => {
                if !keys.is_none_or(|keys| keys.take(self.live_paths_of(&reading))) {
                    return self.read_whole(payload, found);
                }
                let holes = self.holes(&reading);
                let shape = self.push(Shape::new(payload, &reading.found, holes));
                self.before[shape] = self.by_hash.insert(hash, shape).unwrap_or(usize::MAX);
                shape
            }
        };
        found.clone_from(&reading.found);
        self.recent.truncate(TRIED - 1);
        self.recent.insert(0, shape);
        shape
    }

    /// The hash of the text around values and of the places of these.
    fn hash_of(&self, payload: &str, found: &[Found]) -> u64 {
        self.hashes.hash_one(shape::around(payload, found).collect::<Vec<_>>())
    }

    fn known(&self, payload: &str, found: &[Found], hash: u64) -> Option<usize> {
        let mut shape = self.by_hash.get(&hash).copied().unwrap_or(usize::MAX);
        while let Some(known) = self.shapes.get(shape) {
            if known.is_around(payload, found) {
                return Some(shape);
            }
            shape = self.before[shape];
        }
        None
    }

    fn push(&mut self, shape: Shape) -> usize {
        self.bytes += shape.text_bytes() + Self::OF_HOLE * shape.holes().len();
        self.shapes.push(shape);
        self.before.push(usize::MAX);
        self.shapes.len() - 1
    }

    /// The paths at which a payload has values that no later one replaces.
    fn live_paths_of<'a>(&'a self, reading: &'a Reading) -> impl Iterator<Item = &'a str> + Clone {
        let live = reading.places.iter().zip(&reading.replaced).filter(|(_, replaced)| !**replaced);
        live.filter_map(|(place, _)| self.paths.path_of(*place))
    }

    fn holes(&mut self, reading: &Reading) -> Box<[Hole]> {
        let columns = reading.places.iter().map(|place| self.paths.column(*place));
        let mut holes: Box<[Hole]> = columns.map(|column| Hole { column, live: false }).collect();
        let mut taken = HashSet::new();
        for (hole, replaced) in holes.iter_mut().zip(&reading.replaced).rev() {
            hole.live = !replaced && self.paths.path(hole.column).is_some() && taken.insert(hole.column);
        }
        holes
    }

    /// Finds the values of a JSON text; `None` when it is not JSON, nests objects too deep, or has more values or keys than
    /// [`MAX_PAYLOAD_VALUES`].
    fn walk(&mut self, payload: &str) -> Option<Reading> {
        let text = payload.as_bytes();
        let mut reading = Reading::default();
        let mut open: Vec<Open> = Vec::new();
        let mut place = Place::ROOT;
        let mut at = scan::skip_space(text, 0);
        loop {
            // Here a value begins.
            if text.get(at) == Some(&b'{') {
                self.objects += 1;
                let object = Open { object: self.objects, place, key: (place, 0) };
                at = scan::skip_space(text, at + 1);
                if text.get(at) == Some(&b'}') {
                    at += 1;
                } else {
                    open.push(object);
                    if open.len() > MAX_DEPTH {
                        return None;
                    }
                    (place, at) = self.key(payload, at, open.last_mut()?, &mut reading)?;
                    continue;
                }
            } else {
                let value = scan::value(text, at)?;
                reading.push(value, place)?;
                at = value.end;
            }
            // Here a value has ended.
            loop {
                at = scan::skip_space(text, at);
                let Some(object) = open.last_mut() else {
                    return (at == text.len()).then_some(reading);
                };
                let (key, before) = object.key;
                if let Some(replaced) = self.paths.note(key, object.object, before..reading.found.len()) {
                    reading.replaced[replaced].fill(true);
                }
                match text.get(at)? {
                    b',' => {
                        (place, at) = self.key(payload, scan::skip_space(text, at + 1), object, &mut reading)?;
                        break;
                    }
                    b'}' => at += 1,
                    _ => return None,
                }
                open.pop();
            }
        }
    }

    /// Reads a key and its colon; the place of its value, and where that begins.
    fn key(&mut self, payload: &str, at: usize, object: &mut Open, reading: &mut Reading) -> Option<(Place, usize)> {
        let text = payload.as_bytes();
        reading.keys += 1;
        if text.get(at) != Some(&b'"') || reading.keys > MAX_PAYLOAD_VALUES {
            return None;
        }
        let end = scan::string(text, at)?;
        let place = self.paths.inside(object.place, &without_escapes(&payload[at + 1..end - 1])?);
        object.key = (place, reading.found.len());
        let colon = scan::skip_space(text, end);
        (text.get(colon) == Some(&b':')).then(|| (place, scan::skip_space(text, colon + 1)))
    }
}

impl Reading {
    fn push(&mut self, value: Found, place: Place) -> Option<()> {
        self.found.push(value);
        self.places.push(place);
        self.replaced.push(false);
        (self.found.len() <= MAX_PAYLOAD_VALUES).then_some(())
    }
}

/// What a JSON string says; `None` when an escape is wrong.
fn without_escapes(raw: &str) -> Option<Cow<'_, str>> {
    let Some((before, mut rest)) = raw.split_once('\\') else { return Some(raw.into()) };
    let mut text = String::from(before);
    loop {
        let escape = rest.chars().next()?;
        rest = &rest[escape.len_utf8()..];
        text.push(match escape {
            '"' | '\\' | '/' => escape,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let first = unit(&mut rest)?;
                if (0xd800..0xdc00).contains(&first) {
                    rest = rest.strip_prefix("\\u")?;
                    let second = unit(&mut rest)?.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
                    char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + second)?
                } else {
                    char::from_u32(first)?
                }
            }
            _ => return None,
        });
        let Some((before, after)) = rest.split_once('\\') else {
            text.push_str(rest);
            return Some(text.into());
        };
        text.push_str(before);
        rest = after;
    }
}

/// Four hexadecimal digits.
fn unit(rest: &mut &str) -> Option<u32> {
    let digits = rest.get(..4).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
    *rest = &rest[4..];
    u32::from_str_radix(digits, 16).ok()
}
