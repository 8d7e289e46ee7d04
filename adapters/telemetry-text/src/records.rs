//! Records of comma-separated values, pushed in.

use csv_core::ReadRecordResult;
use pocket_application::{ImportRow, WrongLine};

use crate::csv::COLUMNS;
use crate::fields::Fields;

/// Values of one record; a line of names with more is none of ours.
const MOST_VALUES: usize = 64;

/// Cuts a text into records and reads each. The first one names the columns.
pub(crate) struct Records {
    longest: usize,
    reader: csv_core::Reader,
    /// The values of the present record without anything between, and where each ends.
    text: Vec<u8>,
    length: usize,
    ends: [usize; MOST_VALUES],
    count: usize,
    columns: Option<Columns>,
}

/// At which place of a record each field is.
struct Columns {
    count: usize,
    device_id: usize,
    topic: usize,
    payload: usize,
    timestamp: Option<usize>,
    received_at: Option<usize>,
}

impl Records {
    pub(crate) fn new(longest: usize) -> Self {
        Self {
            longest,
            reader: csv_core::Reader::new(),
            text: vec![0; 1_024],
            length: 0,
            ends: [0; MOST_VALUES],
            count: 0,
            columns: None,
        }
    }

    pub(crate) fn push(&mut self, mut bytes: &[u8], rows: &mut Vec<ImportRow>) -> Result<(), WrongLine> {
        // No bytes would mean the end.
        while !bytes.is_empty() {
            let read = self.step(bytes)?;
            let last = bytes[..read.1].last().copied();
            bytes = &bytes[read.1..];
            if read.0 {
                self.record(last, rows)?;
            }
        }
        Ok(())
    }

    pub(crate) fn finish(&mut self, rows: &mut Vec<ImportRow>) -> Result<(), WrongLine> {
        while self.step(b"")?.0 {
            self.record(None, rows)?;
        }
        match self.columns {
            Some(_) => Ok(()),
            None => Err(WrongLine::whole(1, format!("must name the columns: {}", COLUMNS.join(",")))),
        }
    }

    /// Reads on; whether a record is over, and how many bytes were taken.
    fn step(&mut self, bytes: &[u8]) -> Result<(bool, usize), WrongLine> {
        let (result, taken, written, ended) =
            self.reader.read_record(bytes, &mut self.text[self.length..], &mut self.ends[self.count..]);
        self.length += written;
        self.count += ended;
        match result {
            ReadRecordResult::Record => Ok((true, taken)),
            ReadRecordResult::InputEmpty | ReadRecordResult::End => Ok((false, taken)),
            ReadRecordResult::OutputFull if self.length >= self.longest => {
                Err(WrongLine::whole(self.first_line(None), format!("must be at most {} bytes long", self.longest)))
            }
            ReadRecordResult::OutputFull => {
                self.text.resize((2 * self.text.len()).min(self.longest), 0);
                Ok((false, taken))
            }
            ReadRecordResult::OutputEndsFull => {
                Err(WrongLine::whole(self.first_line(None), format!("must have at most {MOST_VALUES} values")))
            }
        }
    }

    /// The line on which the present record began. `last` is the last byte that was read of it.
    fn first_line(&self, last: Option<u8>) -> u64 {
        let within = self.text[..self.length].iter().filter(|byte| **byte == b'\n').count() as u64;
        let is_over = u64::from(last == Some(b'\n'));
        self.reader.line().saturating_sub(within + is_over).max(1)
    }

    fn record(&mut self, last: Option<u8>, rows: &mut Vec<ImportRow>) -> Result<(), WrongLine> {
        let line = self.first_line(last);
        let text = std::str::from_utf8(&self.text[..self.length])
            .map_err(|error| WrongLine::whole(line, format!("is not UTF-8 from byte {} on", error.valid_up_to())))?;
        let mut values = Vec::with_capacity(self.count);
        let mut begin = 0;
        for end in &self.ends[..self.count] {
            // A value may end within a character only when the text is no UTF-8 value by value.
            let value = text.get(begin..*end).ok_or_else(|| WrongLine::whole(line, "is not UTF-8"))?;
            values.push(value);
            begin = *end;
        }
        match &self.columns {
            None => self.columns = Some(Columns::named(&values, line)?),
            Some(columns) => rows.push(columns.row(&values, line)?),
        }
        (self.length, self.count) = (0, 0);
        Ok(())
    }
}

impl Columns {
    fn named(names: &[&str], line: u64) -> Result<Self, WrongLine> {
        // Some programs write a byte order mark before a text.
        let names: Vec<&str> = names.iter().map(|name| name.trim_start_matches('\u{feff}')).collect();
        for (place, name) in names.iter().enumerate() {
            if !COLUMNS.contains(name) {
                let message = format!("is no column; there may be {}", COLUMNS.join(","));
                return Err(WrongLine::field(line, name.chars().take(64).collect::<String>(), message));
            }
            if names[..place].contains(name) {
                return Err(WrongLine::field(line, *name, "must be named once"));
            }
        }
        let place = |name: &str| names.iter().position(|other| *other == name);
        let needed = |name: &str| place(name).ok_or_else(|| WrongLine::field(line, name, "must be among the columns"));
        Ok(Self {
            count: names.len(),
            device_id: needed("deviceId")?,
            topic: needed("topic")?,
            payload: needed("payload")?,
            timestamp: place("timestamp"),
            received_at: place("receivedAt"),
        })
    }

    fn row(&self, values: &[&str], line: u64) -> Result<ImportRow, WrongLine> {
        if values.len() != self.count {
            let message = format!("must have {} values, as there are columns; it has {}", self.count, values.len());
            return Err(WrongLine::whole(line, message));
        }
        let given = |place: Option<usize>| place.map(|place| values[place]).filter(|value| !value.is_empty());
        let fields = Fields {
            device_id: values[self.device_id],
            topic: values[self.topic],
            payload: values[self.payload],
            timestamp: given(self.timestamp),
            received_at: given(self.received_at),
        };
        fields.parse(line)
    }
}
