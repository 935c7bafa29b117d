//! `GET /api/clips/{id}/timeline.svg`: a clip's votes over time, drawn. The numbers are the timeline's; never counts itself.

use axum::extract::State;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, Uri};
use plotters::prelude::{
    AreaSeries, ChartBuilder, Circle, Color, DrawingAreaErrorKind, IntoDrawingArea, IntoFont, LineSeries, RGBColor,
    SVGBackend, TextStyle,
};
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::SVG;
use crate::boards::timeline::Point;
use crate::engine::Engine;
use crate::error::Reject;
use crate::http::query::{NamePath, Query, invalid, named};
use crate::http::routes::Outcome;
use crate::http::{App, etag, timeline as numbers};

const SIZE: (u32, u32) = (640, 220);
const MINUTE_MS: u64 = 60_000;
/// Points that are read at most: a chart is 640 pixels wide.
const POINTS_MAX: usize = 1_440;
/// Changes up to which each is marked.
const MARKED_MAX: usize = 24;
/// Steps that are tried, from fine to coarse, until a clip's whole time fits.
const STEPS_MS: [u64; 5] = [MINUTE_MS, 10 * MINUTE_MS, 60 * MINUTE_MS, 1_440 * MINUTE_MS, 43_200 * MINUTE_MS];

/// `GET /api/clips/{id}/timeline.svg?theme=light|dark&step=…`
pub(in crate::http) async fn timeline(State(app): State<App>, headers: HeaderMap, path: NamePath, uri: Uri) -> Outcome {
    let clip = named(path)?;
    let query = Query::of(&uri);
    let theme = match query.get("theme")?.as_deref() {
        None | Some("light") => LIGHT,
        Some("dark") => DARK,
        Some(_) => return Err(invalid("theme", "light or dark").into()),
    };
    let step = query.get("step")?.map(|text| numbers::step(&text)).transpose()?;
    let engine = app.engine().clone();
    let now_ms = app.now_ms();
    let drawn = numbers::blocking(move || {
        let steps = step.as_ref().map_or(&STEPS_MS[..], std::slice::from_ref);
        let points = points(&engine, &clip, steps)?;
        // Not by the millisecond: two readers within a minute get the same bytes.
        draw(points.as_deref(), now_ms - now_ms % MINUTE_MS, theme).map_err(|_| Reject::Overloaded)
    });
    let body = Bytes::from(drawn.await?);
    let mut answer = etag::typed(&headers, HeaderValue::from_static(SVG), &body, &etag::of(&body));
    let headers = answer.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(answer)
}

/// The clip's points by the finest of these steps that shows its whole time; `None` while its counts are hidden.
fn points(engine: &Engine, clip: &str, steps: &[u64]) -> Result<Option<Vec<Point>>, Reject> {
    let mut found = None;
    for step in steps {
        let Some(series) = engine.timeline(clip, *step, 0, POINTS_MAX)? else { return Ok(None) };
        let whole = series.next.is_none();
        found = Some(series.points);
        if whole {
            break;
        }
    }
    Ok(found)
}

/// Colours of a chart, over a ground that is the page's.
#[derive(Clone, Copy)]
struct Theme {
    line: RGBColor,
    faint: RGBColor,
    text: RGBColor,
}

const LIGHT: Theme = Theme { line: RGBColor(67, 56, 202), faint: RGBColor(226, 224, 217), text: RGBColor(87, 83, 78) };
const DARK: Theme = Theme { line: RGBColor(165, 160, 255), faint: RGBColor(58, 58, 68), text: RGBColor(180, 178, 190) };

fn draw(points: Option<&[Point]>, now_ms: u64, theme: Theme) -> Result<String, DrawingAreaErrorKind<std::io::Error>> {
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        let style = TextStyle::from(("sans-serif", 22).into_font()).color(&theme.text);
        let said = style.pos(Pos::new(HPos::Center, VPos::Center));
        let middle = (i32::try_from(SIZE.0 / 2).expect("small"), i32::try_from(SIZE.1 / 2).expect("small"));
        match points {
            None => area.draw_text("Counts are hidden until the round ends", &said, middle)?,
            Some([]) => area.draw_text("No votes yet", &said, middle)?,
            Some(points) => {
                let line = steps_of(points, now_ms);
                let (from, to) = (line[0].0, line[line.len() - 1].0);
                let top = line.iter().map(|(_, votes)| *votes).max().unwrap_or(0).max(4);
                let mut chart = ChartBuilder::on(&area)
                    .margin_top(12)
                    .margin_right(24)
                    .x_label_area_size(36)
                    .y_label_area_size(64)
                    .build_cartesian_2d(from..to, 0..top + top / 10)?;
                chart
                    .configure_mesh()
                    .disable_x_mesh()
                    .light_line_style(theme.faint.mix(0.0))
                    .bold_line_style(theme.faint)
                    .axis_style(theme.faint)
                    .y_labels(4)
                    .x_labels(4)
                    .label_style(TextStyle::from(("sans-serif", 20).into_font()).color(&theme.text))
                    .x_label_formatter(&|at| when(*at, to - from))
                    .draw()?;
                chart.draw_series(AreaSeries::new(line.iter().copied(), 0, theme.line.mix(0.12)))?;
                chart.draw_series(LineSeries::new(line.iter().copied(), theme.line.stroke_width(2)))?;
                // A line of a few votes says little by itself: each of them is marked then.
                let few = points.len() <= MARKED_MAX;
                for point in points.iter().filter(|_| few) {
                    let place = chart.backend_coord(&(point.at, point.total_votes));
                    area.draw(&Circle::new(place, 4, theme.line.filled()))?;
                }
                let (at, votes) = line[line.len() - 1];
                let (x, y) = chart.backend_coord(&(at, votes));
                area.draw(&Circle::new((x, y), 6, theme.line.filled()))?;
                let style = TextStyle::from(("sans-serif", 20).into_font()).color(&theme.line);
                let above = style.pos(Pos::new(HPos::Right, VPos::Bottom));
                area.draw_text(&votes.to_string(), &above, (x, y - 10))?;
            }
        }
        area.present()?;
    }
    Ok(text)
}

/// The clip's total at each change, as a line that stands still in between: from nothing to now.
fn steps_of(points: &[Point], now_ms: u64) -> Vec<(u64, u64)> {
    let first = points.first().map_or(now_ms, |point| point.at);
    // Not shorter than the axis can tell apart.
    let from = first.saturating_sub(MINUTE_MS).min(now_ms.saturating_sub(10 * MINUTE_MS));
    let mut line = vec![(from, 0)];
    for point in points {
        let before = line[line.len() - 1].1;
        line.push((point.at, before));
        line.push((point.at, point.total_votes));
    }
    let (last, votes) = line[line.len() - 1];
    line.push((now_ms.max(last + MINUTE_MS), votes));
    line
}

/// A time as the axis shows it, UTC: the hour within two days, else the day.
fn when(at_ms: u64, span_ms: u64) -> String {
    let minutes = at_ms / MINUTE_MS;
    if span_ms < 2 * 1_440 * MINUTE_MS {
        return format!("{:02}:{:02}", minutes / 60 % 24, minutes % 60);
    }
    let (month, day) = date(minutes / 1_440);
    format!("{day} {}", MONTHS[month])
}

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Month, from 0, and day of the month of a day since 1970, by the Gregorian calendar.
fn date(mut days: u64) -> (usize, u64) {
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    // Whole cycles first, so that a far day costs as little as a near one.
    days %= 146_097;
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    (month, days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(at: u64, total: u64) -> Point {
        Point { at, votes: 1, weight: 1, total_votes: total, total_weight: total }
    }

    #[test]
    fn a_line_stands_still_between_its_changes_and_goes_on_to_now() {
        let line = steps_of(&[point(120_000, 3), point(600_000, 5)], 900_000);
        let expected = [(60_000, 0), (120_000, 0), (120_000, 3), (600_000, 3), (600_000, 5), (900_000, 5)];
        assert_eq!(line, expected);
    }

    #[test]
    fn what_is_hidden_is_not_drawn() {
        let hidden = draw(None, 0, LIGHT).unwrap();
        assert!(hidden.contains("Counts are hidden") && !hidden.contains("polyline"));
        assert!(draw(Some(&[]), 0, LIGHT).unwrap().contains("No votes yet"));
        let drawn = draw(Some(&[point(120_000, 3)]), 900_000, DARK).unwrap();
        assert!(drawn.contains("polyline") && drawn.contains("#A5A0FF"), "{drawn}");
    }

    #[test]
    fn the_first_vote_can_be_seen_and_read() {
        let first = draw(Some(&[point(900_000, 7)]), 900_000, LIGHT).unwrap();
        assert_eq!(first.matches("<circle").count(), 2, "the vote and where it stands now: {first}");
        let read: Vec<&str> =
            first.split("<text").skip(1).map(|text| text.split(['>', '<']).nth(1).unwrap().trim()).collect();
        assert!(read.contains(&"7"), "not one of the axis: {read:?}");
        let many: Vec<Point> = (0..100).map(|at| point(at * 60_000, at)).collect();
        assert_eq!(draw(Some(&many), 6_000_000, LIGHT).unwrap().matches("<circle").count(), 1);
    }

    #[test]
    fn a_chart_of_a_day_shows_hours_and_a_longer_one_days() {
        assert_eq!(when(1_700_000_000_000, 3_600_000), "22:13");
        assert_eq!(when(1_700_000_000_000, 864_000_000), "14 Nov");
        assert_eq!(date(0), (0, 1));
        assert_eq!(date(59), (2, 1), "1970 has no leap day");
        assert_eq!(date(789), (1, 29), "1972 has");
        assert_eq!(date(20_513), (2, 1), "2026 has none");
    }
}
