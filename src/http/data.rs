//! `GET /api/admin/export`, `GET /api/admin/backup`: everything as of one moment, as it is read. Votes go on meanwhile.
//!
//! A body that breaks off is not whole, and its missing last line or frame says so too. What an export was read of is kept
//! for two minutes, for whoever asks for the rest of it.

use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, Uri};

use super::admin::check;
use super::query::{Query, invalid};
use super::routes::Refused;
use super::{App, pieces};
use crate::error::Reject;
use crate::jobs::backup::write_backup;
use crate::jobs::export::{Format, Place, Table, stream_from};

/// `GET /api/admin/export?format=jsonl&pseudonymous=1`, and `&state=…&table=votes&rows=200000` to go on there.
pub(super) async fn export(State(app): State<App>, uri: Uri, headers: HeaderMap) -> Result<Response, Refused> {
    check(&app, &headers)?;
    let query = Query::of(&uri);
    let format = match query.get("format")? {
        None => Format::Jsonl,
        Some(given) => Format::of(&given).ok_or_else(|| invalid("format", "jsonl, csv or parquet"))?,
    };
    let pseudonymous = match query.get("pseudonymous")?.as_deref() {
        None | Some("0" | "false") => false,
        Some("1" | "true") => true,
        Some(_) => return Err(invalid("pseudonymous", "1 or 0").into()),
    };
    let wanted = wanted(query, format, pseudonymous)?;
    let state = wanted.as_ref().map(|(state, _)| state.as_str());
    let reading = app.engine().export_source(app.0.options.secrets.clone(), state).await?;
    // Of another state nothing that the client has is of use: all of it then.
    let from = wanted.filter(|(state, _)| *state == reading.source().state).map(|(_, from)| from);
    Ok(pieces::answer("an export", "application/x-ndjson", None, move |out| {
        let source = reading.source();
        stream_from(source, source.manifest(format, pseudonymous), from, out, &mut |_| Ok(())).map(drop)
    }))
}

/// Where a client wants to go on, and in what.
fn wanted(query: Query<'_>, format: Format, pseudonymous: bool) -> Result<Option<(String, Place)>, Reject> {
    let (state, table, rows) = (query.get("state")?, query.get("table")?, query.get("rows")?);
    let Some(state) = state else {
        return match (table, rows) {
            (None, None) => Ok(None),
            _ => Err(invalid(
                "state",
                "what the export that broke off said of itself: table and rows mean nothing without",
            )),
        };
    };
    let table = table.as_deref().and_then(Table::of).filter(|table| !(pseudonymous && table.tells_secrets()));
    let table = table.ok_or_else(|| invalid("table", "the name of a table of the export"))?;
    let rows = match rows {
        None => 0,
        Some(rows) => {
            let digits = rows.bytes().all(|byte| byte.is_ascii_digit());
            let rows = if digits { rows.parse().ok() } else { None };
            rows.ok_or_else(|| invalid("rows", "how many rows of the table are there already"))?
        }
    };
    if rows > 0 && !table.goes_on(format) {
        return Err(invalid("rows", "0 for this table: it is sent whole"));
    }
    Ok(Some((state.into_owned(), Place { table, rows })))
}

/// `GET /api/admin/backup`
pub(super) async fn backup(State(app): State<App>, headers: HeaderMap) -> Result<Response, Refused> {
    check(&app, &headers)?;
    let source = app.engine().source(app.0.options.secrets.clone()).await?;
    Ok(pieces::answer("a backup", "application/octet-stream", None, move |out| write_backup(&source, out).map(drop)))
}
