//! The shapes of payloads, each kept once, and the reading of a payload by them.
//!
//! A payload is first held against the shapes that came last, which needs no look at keys and paths. Both ways find the
//! same values: where a value ends depends on its own text only.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use crate::limits::MAX_DEPTH;
use crate::path::{Paths, Place};
use crate::scan::{self, Found, Kind};
use crate::shape::{Hole, Shape};

/// How many shapes a payload is held against before its keys are read.
const TRIED: usize = 8;

/// All shapes seen so far.
pub(crate) struct ShapeTable {
    paths: Paths,
    shapes: Vec<Shape>,
    by_text: HashMap<Box<[u8]>, usize>,
    /// The last ones, the latest first.
    recent: Vec<usize>,
    /// Bytes of the shapes' texts.
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
}

/// An object whose end is not reached.
struct Open {
    object: u64,
    place: Place,
    /// The place of the key whose value is being read, and how many values came before it.
    key: (Place, usize),
}

impl ShapeTable {
    /// Bytes of a shape beside its text, and of a place with keys and paths as long as they usually are.
    const OF_SHAPE: usize = 200;
    const OF_PLACE: usize = 200;

    pub(crate) fn new() -> Self {
        Self {
            paths: Paths::new(),
            shapes: Vec::new(),
            by_text: HashMap::new(),
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

    /// About how many bytes it has grown to, but for a factor.
    pub(crate) fn size(&self) -> usize {
        self.bytes + Self::OF_SHAPE * self.shapes.len() + Self::OF_PLACE * self.paths.len()
    }

    /// The shape of a payload, and its values, one a hole.
    #[inline]
    pub(crate) fn read(&mut self, payload: &str, found: &mut Vec<Found>) -> usize {
        for at in 0..self.recent.len() {
            let shape = self.recent[at];
            if self.shapes[shape].matches(payload.as_bytes(), found) {
                self.recent[..=at].rotate_right(1);
                return shape;
            }
        }
        self.read_keys(payload, found)
    }

    fn read_keys(&mut self, payload: &str, found: &mut Vec<Found>) -> usize {
        let Some(reading) = self.walk(payload) else {
            found.clear();
            found.push(Found { start: 0, end: payload.len(), kind: Kind::Text });
            // A byte that no text has keeps it apart from a payload that is one value.
            let column = self.paths.pathless();
            return self
                .intern([0xfe].into(), || Shape::new("", &[Found::EMPTY], [Hole { column, live: false }].into()));
        };
        let mut text = Vec::with_capacity(payload.len());
        let mut from = 0;
        for value in &reading.found {
            text.extend_from_slice(&payload.as_bytes()[from..value.start]);
            text.push(0xff);
            from = value.end;
        }
        text.extend_from_slice(&payload.as_bytes()[from..]);
        found.clone_from(&reading.found);
        let shape = match self.by_text.get(&*text) {
            Some(&shape) => shape,
            None => {
                let holes = self.holes(&reading);
                self.intern(text.into(), || Shape::new(payload, &reading.found, holes))
            }
        };
        self.recent.truncate(TRIED - 1);
        self.recent.insert(0, shape);
        shape
    }

    fn intern(&mut self, text: Box<[u8]>, shape: impl FnOnce() -> Shape) -> usize {
        let length = text.len();
        *self.by_text.entry(text).or_insert_with(|| {
            self.bytes += length;
            self.shapes.push(shape());
            self.shapes.len() - 1
        })
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

    /// Finds the values of a JSON text; `None` when it is not JSON, or nests objects too deep.
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
                    (place, at) = self.key(payload, at, open.last_mut()?, &reading)?;
                    continue;
                }
            } else {
                let value = scan::value(text, at)?;
                reading.push(value, place);
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
                        (place, at) = self.key(payload, scan::skip_space(text, at + 1), object, &reading)?;
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
    fn key(&mut self, payload: &str, at: usize, object: &mut Open, reading: &Reading) -> Option<(Place, usize)> {
        let text = payload.as_bytes();
        if text.get(at) != Some(&b'"') {
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
    fn push(&mut self, value: Found, place: Place) {
        self.found.push(value);
        self.places.push(place);
        self.replaced.push(false);
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
