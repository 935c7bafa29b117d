//! `GET /api/admin/export`, `GET /api/admin/backup`: everything as of one moment, as it is read. Votes go on meanwhile.
//!
//! A body that breaks off is not whole, and its missing last line or frame says so too.

use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, Uri};

use super::admin::check;
use super::query::{Query, invalid};
use super::routes::Refused;
use super::{App, pieces};
use crate::error::Reject;
use crate::jobs::backup::write_backup;
use crate::jobs::export::{Format, Source, stream};

/// `GET /api/admin/export?format=jsonl&pseudonymous=1`
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
    let source = source(&app).await?;
    Ok(pieces::answer("an export", "application/x-ndjson", None, move |out| {
        stream(&source, source.manifest(format, pseudonymous), out, &mut |_| Ok(())).map(drop)
    }))
}

/// `GET /api/admin/backup`
pub(super) async fn backup(State(app): State<App>, headers: HeaderMap) -> Result<Response, Refused> {
    check(&app, &headers)?;
    let source = source(&app).await?;
    Ok(pieces::answer("a backup", "application/octet-stream", None, move |out| write_backup(&source, out).map(drop)))
}

async fn source(app: &App) -> Result<Source, Reject> {
    app.engine().source(app.0.options.secrets.clone()).await
}
