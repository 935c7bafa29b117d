//! Rows as others read them, and rows that are gone on with.

use std::io::Write;

use ::parquet::file::reader::{FileReader, SerializedFileReader};
use ::parquet::record::Field;
use proptest::prelude::*;

use super::*;

/// Has more rows than come, and nobody takes any.
struct Left;

impl Write for Left {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        panic!("all of them are there already")
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Err(std::io::ErrorKind::BrokenPipe.into())
    }
}

impl RowSink for Left {
    fn has(&self) -> u64 {
        1_000_000
    }
}

#[test]
fn rows_that_are_there_already_are_not_gone_through_for_one_who_has_left() {
    for format in [Format::Jsonl, Format::Csv] {
        let mut left = Left;
        let mut rows = Rows::new(format, &[Column::number("n")], &mut left).unwrap();
        assert!((0..LOOKED).any(|n| rows.row(&[Cell::Number(n)]).is_err()), "{format:?}");
    }
}

proptest! {
    #[test]
    fn a_row_is_read_back_by_others(texts in prop::collection::vec(any::<(String, u64, bool, [u8; 3])>(), 0..20)) {
        let columns = [
            Column::text("text"), Column::id("id"), Column::number("number"), Column::yes("yes"), Column::hex("hex"),
            Column::time("none"),
        ];
        for format in Format::ALL {
            let mut out = Vec::new();
            let mut rows = Rows::new(format, &columns, &mut out).unwrap();
            for (text, n, yes, hex) in &texts {
                let cells =
                    [Cell::Text(text), Cell::Id(*n), Cell::Number(*n), Cell::Bool(*yes), Cell::Hex(hex), Cell::Null];
                rows.row(&cells).unwrap();
            }
            prop_assert_eq!(rows.end().unwrap(), texts.len() as u64);
            let hex = |hex: &[u8; 3]| crate::jobs::export::hex(hex);
            match format {
                Format::Jsonl => {
                    let lines: Vec<serde_json::Value> =
                        out.split_inclusive(|b| *b == b'\n').map(|l| serde_json::from_slice(l).unwrap()).collect();
                    let expected: Vec<_> = texts.iter().map(|(text, n, yes, bytes)| serde_json::json!({
                        "text": text, "id": n.to_string(), "number": n, "yes": yes, "hex": hex(bytes), "none": null,
                    })).collect();
                    prop_assert_eq!(lines, expected);
                }
                Format::Csv => {
                    let mut read = csv::Reader::from_reader(out.as_slice());
                    let lines: Vec<Vec<String>> =
                        read.records().map(|r| r.unwrap().iter().map(str::to_owned).collect()).collect();
                    let expected: Vec<Vec<String>> = texts.iter().map(|(text, n, yes, bytes)| vec![
                        text.clone(), n.to_string(), n.to_string(), yes.to_string(), hex(bytes), String::new(),
                    ]).collect();
                    prop_assert_eq!(lines, expected);
                }
                Format::Parquet => {
                    let read = SerializedFileReader::new(bytes::Bytes::from(out)).unwrap();
                    let rows = read.get_row_iter(None).unwrap().map(Result::unwrap);
                    let lines: Vec<Vec<Field>> =
                        rows.map(|row| row.get_column_iter().map(|(_, cell)| cell.clone()).collect()).collect();
                    let expected: Vec<Vec<Field>> = texts.iter().map(|(text, n, yes, bytes)| vec![
                        Field::Str(text.clone()), Field::Long(n.cast_signed()), Field::Long(n.cast_signed()),
                        Field::Bool(*yes), Field::Str(hex(bytes)), Field::Null,
                    ]).collect();
                    prop_assert_eq!(lines, expected);
                }
            }
        }
    }
}

/// Keeps where whole rows end, and has some of them already.
#[derive(Default)]
struct Ends {
    has: u64,
    gathers: usize,
    out: Vec<u8>,
    /// So many rows in so many bytes.
    whole: Vec<(u64, usize)>,
}

impl Write for Ends {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl RowSink for Ends {
    fn has(&self) -> u64 {
        self.has
    }

    fn gathers(&self) -> usize {
        self.gathers
    }

    fn write_rows(&mut self, lines: &[u8], rows: u64) -> io::Result<()> {
        self.out.extend_from_slice(lines);
        self.whole.push((rows, self.out.len()));
        Ok(())
    }
}

fn written(format: Format, texts: &[String], has: u64, gathers: usize) -> io::Result<Ends> {
    let mut out = Ends { has, gathers, ..Ends::default() };
    let mut rows = Rows::new(format, &[Column::text("text"), Column::text("again")], &mut out)?;
    for text in texts {
        rows.row(&[Cell::Text(text), Cell::Text(text)])?;
    }
    rows.end()?;
    Ok(out)
}

/// Texts whose lines begin as ours do, among others.
fn texts() -> impl Strategy<Value = Vec<String>> {
    const NASTY: [&str; 7] = ["a\nb", "\n{\"rows\":7}\n", "\"\n\"", ",\r\n", "", "\n{\"table\":\"votes\"", "{\"end\":"];
    prop::collection::vec(prop_oneof![prop::sample::select(&NASTY[..]).prop_map(str::to_owned), any::<String>()], 0..30)
}

proptest! {
    #[test]
    fn rows_behind_any_row_are_the_rest_to_the_byte(texts in texts(), gathers in 1_usize..200) {
        for format in [Format::Jsonl, Format::Csv] {
            let whole = written(format, &texts, 0, gathers).unwrap();
            prop_assert_eq!(whole.whole.last().unwrap().0, texts.len() as u64);
            for &(rows, bytes) in &whole.whole {
                // Of no row nothing is there, and so not the header.
                let bytes = if rows == 0 { 0 } else { bytes };
                let rest = written(format, &texts, rows, gathers).unwrap();
                prop_assert_eq!(&[&whole.out[..bytes], &rest.out].concat(), &whole.out, "behind row {}", rows);
            }
            let each: Vec<u64> = written(format, &texts, 0, 1).unwrap().whole.iter().map(|(rows, _)| *rows).collect();
            prop_assert!((1..=texts.len() as u64).all(|row| each.contains(&row)), "every row's end is told");
        }
    }
}

#[test]
fn more_rows_than_there_are_and_parquet_are_not_gone_on_with() {
    let texts = ["a".to_owned()];
    for (format, has, why) in
        [(Format::Jsonl, 2, "2 rows were there"), (Format::Csv, 3, "has 1"), (Format::Parquet, 1, "never")]
    {
        let refused = written(format, &texts, has, 1).err().unwrap().to_string();
        assert!(refused.contains(why), "{refused}");
    }
}
