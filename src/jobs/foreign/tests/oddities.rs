//! Tables as programs and people spoil them, only looked at.

use super::*;

/// What is found in a table of votes, and one of comments if it is not empty; with the rejects' lines and reasons. `between` happens
/// once it is known what is in the first.
fn look_at(
    votes: &[u8],
    comments: &[u8],
    map: &[(&str, &str)],
    between: impl Fn(&Path),
) -> Result<(Taken, Vec<(u64, String)>), Fault> {
    let scratch = tempfile::tempdir().unwrap();
    let path = |name: &str| scratch.path().join(name);
    let (from, more) = (path("votes.csv"), path("comments.csv"));
    fs::write(&from, votes).unwrap();
    fs::write(&more, comments).unwrap();
    let columns: BTreeMap<String, String> = map.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect();
    let more = Some(more.as_path()).filter(|_| !comments.is_empty());
    check(&from, more, &columns)?;
    let (mut rejects, mut read, mut to_read) = (Vec::new(), 0, length(&from)? + more.map_or(Ok(0), length)?);
    let taken = {
        let hear = Box::new(|heard| {
            match heard {
                Heard::Read(bytes) => read += bytes,
                Heard::ToRead(bytes) => {
                    to_read += bytes;
                    between(&from);
                }
                Heard::Kept(_) => unreachable!("it is only looked at"),
            }
            Ok(())
        });
        let (season, key) = (SeasonId::new("s").unwrap(), VoterKey::new([3; 32]));
        let mut foreign = Foreign::new(season, key, columns, None, Box::new(&mut rejects), hear)?;
        foreign.votes(&from)?;
        more.map_or(Ok(()), |file| foreign.comments(file))?;
        foreign.finish()?.0
    };
    assert_eq!(read, to_read, "what is to come is told");
    let lines = csv::Reader::from_reader(rejects.as_slice())
        .records()
        .map(|row| row.unwrap())
        .map(|row| (row[1].parse().unwrap(), row[2].to_owned()))
        .collect::<Vec<(u64, String)>>();
    assert_eq!(lines.len() as u64, taken.rejected);
    Ok((taken, lines))
}

const HEAD: &str = "clip_id,voter_key,vote_weight,slot_position,created_at\n";
const COMMENTS_HEAD: &str = "id,clip_id,user_id,is_deleted,created_at,comment_text\n";

fn look(votes: &str) -> Result<(Taken, Vec<(u64, String)>), Fault> {
    look_at(format!("{HEAD}{votes}").as_bytes(), b"", &[], |_| {})
}

fn refused(votes: &str, comments: &str, map: &[(&str, &str)]) -> String {
    let failed = look_at(votes.as_bytes(), comments.as_bytes(), map, |_| {}).unwrap_err();
    assert!(matches!(failed, Fault::Setting(_)), "{failed}");
    failed.to_string()
}

#[test]
fn a_quote_that_is_never_closed_ends_the_import_at_its_line() {
    let row = "c,k,1,1,1700000000000\n";
    let long = |bytes: usize| row.repeat(bytes / row.len());
    let failed = look(&format!("{row}{row}\"c,k,1,1,1700000000000\n{}", long(3 << 20))).unwrap_err().to_string();
    assert!(failed.contains("votes.csv, line 4: a row of more than 1 MiB"), "{failed}");
    // As the file's very first byte too, before any column is known.
    let scratch = tempfile::tempdir().unwrap();
    fs::write(scratch.path().join("v"), format!("\"{}", long(3 << 20))).unwrap();
    let failed = Rows::open(&scratch.path().join("v")).unwrap().names().unwrap_err().to_string();
    assert!(failed.contains("line 1: a row of more than"), "{failed}");
    // One that is long, and ends, is a row like any other.
    let (taken, _) =
        look(&format!("{row}\"c{}\",k,1,1,1700000000000\nc,l,1,1,1700000000000\n", "c".repeat(900_000))).unwrap();
    assert_eq!((taken.votes, taken.rejected), (2, 1));
}

#[test]
fn a_row_that_is_no_text_is_rejected_once_however_many_slots_there_are() {
    let mut votes = format!("{HEAD}a,k,1,1,1700000000000\nb,k,1,2,1700000000000\nc,k,1,3,1700000000000\n").into_bytes();
    votes.extend_from_slice(b"a,\xff,1,1,1700000000000\nc,l,1,3,1700000000000\n");
    let (taken, rejects) = look_at(&votes, b"", &[], |_| {}).unwrap();
    assert_eq!(rejects, [(5, "it is not UTF-8".to_owned())]);
    assert_eq!((taken.votes, taken.slots), (4, 3));
}

#[test]
fn what_editors_do_to_a_table_changes_nothing() {
    let plain = format!("{HEAD}a,k,1,1,1700000000000\n\"b\",\"l\"\"l\",1,1,1700000000000\n");
    let (wanted, _) = look_at(plain.as_bytes(), b"", &[], |_| {}).unwrap();
    assert_eq!((wanted.votes, wanted.clips, wanted.rejected), (2, 2, 0));
    let spaced = plain.replace(",1,1,", " , 1 ,1, ");
    let emptied = plain.replace("000000\n", "000000,,\n");
    let headed = plain.replace("clip_id,voter_key", " clip_id , voter_key");
    for (what, text) in [
        ("a mark of bytes' order", format!("\u{feff}{plain}")),
        ("ends of lines", plain.replace('\n', "\r\n")),
        ("no last end of a line", plain.trim_end().to_owned()),
        ("empty lines", plain.replace('\n', "\n\n")),
        ("blanks", spaced),
        ("blanks in names", headed),
        ("empty columns behind the last", emptied),
    ] {
        assert_eq!(look_at(text.as_bytes(), b"", &[], |_| {}).unwrap().0, wanted, "{what}");
    }
    let why = refused(&plain.replace('\n', "\r"), "", &[]);
    assert!(why.contains("votes.csv has lines that end with CR alone"), "{why}");
}

#[test]
fn rejects_name_the_line_that_an_editor_shows() {
    let plain = "\"a\n\n\",k,1,1,1700000000000\na,k,none,1,1700000000000\n\n\n\na,k,\"no\nne\",1,1700000000000\na,l,,1,1700000000000\n";
    for (what, text) in [
        ("LF", plain.to_owned()),
        ("CR and LF", plain.replace('\n', "\r\n")),
        ("no last end of a line", plain.trim_end().to_owned()),
        ("a quote that is never closed", plain.replace(",l,,", ",l,\",")),
    ] {
        let head = if text.contains('\r') { HEAD.replace('\n', "\r\n") } else { HEAD.to_owned() };
        let (taken, rejects) = look_at((head + &text).as_bytes(), b"", &[], |_| {}).unwrap();
        assert_eq!(rejects.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [5, 9, 11], "{what}");
        assert_eq!(taken.votes, 1, "{what}");
    }
}

#[test]
fn a_row_of_another_shape_is_not_guessed_at() {
    let row = |text: &str| format!("m1,a,u1,f,1700000000000,{text}\n");
    let votes = format!("{HEAD}a,k,1,1,1700000000000\na,l,1,1\na,m,1,1,1700000000000,more\n");
    // A comment with commas that nobody quoted.
    let comments = format!("{COMMENTS_HEAD}{}", row("first, and last"));
    let (taken, rejects) = look_at(votes.as_bytes(), comments.as_bytes(), &[], |_| {}).unwrap();
    assert_eq!((taken.votes, taken.comments), (1, 0));
    let why: Vec<_> = rejects.iter().map(|(line, why)| (*line, why.as_str())).collect();
    let long = "it has more columns than the first line";
    assert_eq!(why, [(3, "created_at: no time from 1970 to 2149"), (4, long), (2, long)]);
}

/// Milliseconds of a time that 63 bits can't hold are no block of the log's.
#[test]
fn times_and_numbers_that_no_vote_has_are_rejected() {
    for at in
        ["18446744073709551615", "9223372036854775808", "1700000000000000", "2023-02-30 00:00:00", "infinity", "-5"]
    {
        let (taken, rejects) = look(&format!("a,k,1,1,{at}\n")).unwrap();
        assert_eq!((taken.votes, rejects[0].1.as_str()), (0, "created_at: no time from 1970 to 2149"), "{at}");
    }
    for weight in ["-1", "0", "1.5", "1e3", "10001", "99999999999999999999", ""] {
        assert_eq!(look(&format!("a,k,{weight},1,1700000000000\n")).unwrap().0.votes, 0, "{weight}");
    }
}

#[test]
fn a_deleted_comment_does_not_come_to_light_whoever_wrote_the_table() {
    let rows = ["t", "true", "TRUE", "True", "1", "yes", "perhaps", "f", "False", "0", "no", ""];
    let comments = rows.iter().enumerate().fold(COMMENTS_HEAD.to_owned(), |all, (n, deleted)| {
        all + &format!("m{n},a,u1,{deleted},1700000000000,number {n}\n")
    });
    let votes = format!("{HEAD}a,k,1,1,1700000000000\n");
    let (taken, rejects) = look_at(votes.as_bytes(), comments.as_bytes(), &[], |_| {}).unwrap();
    assert_eq!(taken.comments, 5, "{rejects:?}");
    assert_eq!(rejects.iter().filter(|(_, why)| why == "it is deleted").count(), 6, "{rejects:?}");
    assert!(rejects.contains(&(8, "is_deleted: true or false".to_owned())), "{rejects:?}");
    // One without an id can't be answered, nor told from another.
    let comments = format!("{COMMENTS_HEAD},a,u1,f,1700000000000,one\n,a,u1,f,1700000000000,two\n");
    let (taken, rejects) = look_at(votes.as_bytes(), comments.as_bytes(), &[], |_| {}).unwrap();
    assert_eq!((taken.comments, rejects[1].1.as_str()), (0, "id: empty"));
}

#[test]
fn columns_that_are_missing_or_meant_twice_are_named_before_anything_is_read() {
    let comments = "id,clip_id,user_id,comment_text,created_at\n";
    let why = refused(&HEAD.replace("vote_weight", "weight"), "", &[]);
    assert!(why.contains("votes.csv has no column vote_weight: --map names them"), "{why}");
    let why = refused(&HEAD.replace("voter_key", "who"), "", &[]);
    assert!(why.contains("votes.csv has neither a column user_id nor voter_key"), "{why}");
    let why = refused(HEAD, &comments.replace("comment_text", "text"), &[]);
    assert!(why.contains("comments.csv has no column comment_text"), "{why}");
    let why = refused(&format!("clip_id,{HEAD}"), "", &[]);
    assert!(why.contains("votes.csv has two columns clip_id"), "{why}");
    // What --map names is there, or all of it would pass for empty.
    for (map, votes) in [(("vote_type", "kind"), HEAD), (("flagged", "bad"), HEAD), (("user_id", "uid"), HEAD)] {
        let why = refused(votes, "", &[map]);
        assert!(why.contains(&format!("has no column {}, which --map gives as its {}", map.1, map.0)), "{why}");
    }
    let why = refused(HEAD, comments, &[("username", "nick")]);
    assert!(why.contains("comments.csv has no column nick"), "{why}");
    // In one of the tables is enough, and names of a table that is not given are not asked for.
    let votes = HEAD.replace("voter_key", "device");
    assert!(look_at(votes.as_bytes(), comments.as_bytes(), &[("voter_key", "device")], |_| {}).is_ok());
    assert!(look_at(HEAD.as_bytes(), b"", &[("username", "nick")], |_| {}).is_ok());
}

#[test]
fn a_file_that_grows_between_two_readings_is_noticed() {
    let votes = format!("{HEAD}a,k,1,1,1700000000000\n");
    let grow = |file: &Path| {
        let mut file = fs::OpenOptions::new().append(true).open(file).unwrap();
        file.write_all(b"b,k,1,1,1700000000000\n").unwrap();
    };
    let failed = look_at(votes.as_bytes(), b"", &[], grow).unwrap_err();
    assert!(failed.to_string().contains("votes.csv was written to while it was read"), "{failed}");
    // And between its name's and the first.
    let files = Files::new();
    let (_, mut stamps) =
        name(&SeasonId::new("s").unwrap(), &BTreeMap::new(), &[Some(&files.path("votes"))], &mut |_| {}).unwrap();
    stamps.see(&files.path("votes")).unwrap();
    grow(&files.path("votes"));
    assert!(stamps.see(&files.path("votes")).is_err());
}

#[test]
fn a_disk_that_cannot_be_read_is_no_wrong_setting() {
    let scratch = tempfile::tempdir().unwrap();
    // A directory opens, and can't be read.
    let failed = Rows::open(scratch.path()).unwrap().names().unwrap_err();
    assert!(matches!(failed, Fault::Io { .. }), "{failed}");
}
