//! Rows to Parquet: what is gathered of each column is written as a group of rows, so memory is bounded by a group's.
//!
//! Numbers, ids and times are 64-bit integers packed by their differences, texts that repeat stand once in a dictionary, and
//! all is compressed with Snappy. Every column may be null. Never: keeps more than a group and the groups' places.

use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use parquet::basic::{Compression, ConvertedType, Encoding, Repetition, Type as Physical};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{ColumnPath, Type};

use super::rows::{Cell, Column, Of, put_hex};
use super::sink::RowSink;

/// Rows of a group at most.
const ROWS: usize = 128 * 1024;
/// Bytes of a group's texts at most, but for one row.
const TEXTS: usize = 16 << 20;

/// Writes rows of the same columns.
pub(super) struct Groups<'a> {
    to: &'a mut dyn RowSink,
    file: SerializedFileWriter<Buffer>,
    /// What the file's writer has written and `to` has not got.
    written: Buffer,
    columns: Vec<Gathered>,
    rows: usize,
    texts: usize,
}

/// A column's cells of the group under way.
struct Gathered {
    values: Values,
    /// Of each row: 1 where there is a value, 0 for null.
    present: Vec<i16>,
}

enum Values {
    Numbers(Vec<i64>),
    Bools(Vec<bool>),
    /// One behind the other, with where each ends.
    Texts(Vec<u8>, Vec<usize>),
}

/// A buffer that another's writer owns and we empty.
#[derive(Clone, Default)]
pub(super) struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Buffer {
    /// Hands over what is in it, if that is as much as `least`.
    pub(super) fn pass_on(&self, least: usize, take: impl FnOnce(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let mut written = self.0.lock();
        if written.len() >= least {
            take(&written)?;
            written.clear();
        }
        Ok(())
    }
}

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> Groups<'a> {
    pub(super) fn new(columns: &[Column], to: &'a mut dyn RowSink) -> io::Result<Self> {
        let fields = columns.iter().map(|column| field(*column).map(Arc::new)).collect::<Result<_, _>>();
        let schema =
            Type::group_type_builder("plaudit").with_fields(fields.map_err(failed)?).build().map_err(failed)?;
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_created_by(concat!("plaudit ", env!("CARGO_PKG_VERSION")).into())
            // Pages' own statistics of all groups would gather in memory until the end.
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_offset_index_disabled(true);
        for column in columns {
            let path = ColumnPath::from(column.name);
            properties = match column.of {
                Of::Id | Of::Number | Of::Time => properties
                    .set_column_dictionary_enabled(path.clone(), false)
                    .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED),
                // Hardly any of them comes twice.
                Of::Hex => properties.set_column_dictionary_enabled(path, false),
                Of::Bool | Of::Text => properties,
            };
        }
        let written = Buffer::default();
        let file = SerializedFileWriter::new(written.clone(), Arc::new(schema), Arc::new(properties.build()));
        let gathered = columns.iter().map(|column| Gathered::new(column.of)).collect();
        Ok(Self { to, file: file.map_err(failed)?, written, columns: gathered, rows: 0, texts: 0 })
    }

    pub(super) fn row(&mut self, cells: &[Cell<'_>]) -> io::Result<()> {
        debug_assert_eq!(cells.len(), self.columns.len());
        for (cell, column) in cells.iter().zip(&mut self.columns) {
            self.texts += column.add(*cell);
        }
        self.rows += 1;
        if self.rows < ROWS && self.texts < TEXTS { Ok(()) } else { self.end_group() }
    }

    /// Writes what is left, and the file's end.
    pub(super) fn end(mut self) -> io::Result<()> {
        if self.rows > 0 {
            self.end_group()?;
        }
        self.file.finish().map_err(failed)?;
        self.pass_on()
    }

    fn end_group(&mut self) -> io::Result<()> {
        let mut group = self.file.next_row_group().map_err(failed)?;
        for column in &mut self.columns {
            let mut writer = group.next_column().map_err(failed)?.expect("as many as the schema has");
            let present = Some(column.present.as_slice());
            let written = match &mut column.values {
                Values::Numbers(numbers) => writer.typed::<Int64Type>().write_batch(numbers, present, None),
                Values::Bools(bools) => writer.typed::<BoolType>().write_batch(bools, present, None),
                Values::Texts(bytes, ends) => {
                    let (bytes, mut begin) = (Bytes::from(std::mem::take(bytes)), 0);
                    let texts: Vec<ByteArray> =
                        ends.iter().map(|end| bytes.slice(std::mem::replace(&mut begin, *end)..*end).into()).collect();
                    writer.typed::<ByteArrayType>().write_batch(&texts, present, None)
                }
            };
            written.and_then(|_| writer.close()).map_err(failed)?;
            column.clear();
        }
        group.close().map_err(failed)?;
        (self.rows, self.texts) = (0, 0);
        self.file.flush()?;
        self.pass_on()
    }

    fn pass_on(&mut self) -> io::Result<()> {
        self.written.pass_on(0, |written| self.to.write_all(written))
    }
}

impl Gathered {
    fn new(of: Of) -> Self {
        let values = match of {
            Of::Id | Of::Number | Of::Time => Values::Numbers(Vec::new()),
            Of::Bool => Values::Bools(Vec::new()),
            Of::Text | Of::Hex => Values::Texts(Vec::new(), Vec::new()),
        };
        Self { values, present: Vec::new() }
    }

    /// Adds a row's cell; says how many bytes of text it has.
    fn add(&mut self, cell: Cell<'_>) -> usize {
        self.present.push(i16::from(!matches!(cell, Cell::Null)));
        match (&mut self.values, cell) {
            (_, Cell::Null) => {}
            (Values::Numbers(numbers), Cell::Id(n) | Cell::Number(n)) => numbers.push(n.cast_signed()),
            (Values::Bools(bools), Cell::Bool(yes)) => bools.push(yes),
            (Values::Texts(bytes, ends), Cell::Text(_) | Cell::Hex(_)) => {
                let begin = bytes.len();
                match cell {
                    Cell::Text(text) => bytes.extend_from_slice(text.as_bytes()),
                    Cell::Hex(hex) => put_hex(bytes, hex),
                    _ => unreachable!("matched above"),
                }
                ends.push(bytes.len());
                return bytes.len() - begin;
            }
            (_, cell) => unreachable!("{cell:?} is not of its column's type"),
        }
        0
    }

    fn clear(&mut self) {
        self.present.clear();
        match &mut self.values {
            Values::Numbers(numbers) => numbers.clear(),
            Values::Bools(bools) => bools.clear(),
            Values::Texts(bytes, ends) => {
                bytes.clear();
                ends.clear();
            }
        }
    }
}

fn field(column: Column) -> Result<Type, ParquetError> {
    let (physical, converted) = match column.of {
        Of::Id | Of::Number => (Physical::INT64, ConvertedType::NONE),
        Of::Time => (Physical::INT64, ConvertedType::TIMESTAMP_MILLIS),
        Of::Bool => (Physical::BOOLEAN, ConvertedType::NONE),
        Of::Text | Of::Hex => (Physical::BYTE_ARRAY, ConvertedType::UTF8),
    };
    Type::primitive_type_builder(column.name, physical)
        .with_repetition(Repetition::OPTIONAL)
        .with_converted_type(converted)
        .build()
}

fn failed(why: ParquetError) -> io::Error {
    match why {
        ParquetError::External(why) => io::Error::other(why),
        why => io::Error::other(why.to_string()),
    }
}
