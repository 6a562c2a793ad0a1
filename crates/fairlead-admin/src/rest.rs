//! REST under `/v1`, read off the table of operations.
//!
//! `Accept` chooses the form: JSON (a page), `application/x-ndjson` (all entries, one a line, as they come, and a last
//! line with `end`), `text/plain` (chan_sip's table).

pub mod problem;

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use axum::{Extension, Json, Router};
use fairlead_proto::admin::v1 as pb;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::auth::Caller;
use crate::engine::{Answer, Engine, Entry, Failure, Listing};
use crate::operation::{Answers, Arguments, Operation, Place, Row, TABLE, Verb};
use crate::table::{self, Sheet};
use problem::Problem;

/// Entries of a page when nobody says how many.
pub const PAGE: usize = 1000;

/// The most entries a page may have.
pub const LARGEST_PAGE: usize = 10_000;

/// The last line of NDJSON.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct End {
    /// Holds what a page of JSON holds beside its entries.
    pub end: EndFacts,
}

/// What a page holds beside its entries.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct EndFacts {
    /// Pods that did not answer.
    pub missing: Vec<pb::Missing>,
    /// Cursor of the page after; empty at the end.
    pub next: String,
    /// Why the list ends before its end; absent when it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
}

/// One route for each path of the table.
pub fn router(engine: Engine) -> Router {
    let mut paths: BTreeMap<&'static str, MethodRouter<Engine>> = BTreeMap::new();
    let mut seen: Vec<(&str, Verb)> = Vec::new();
    for row in TABLE {
        // `show channels` and `show channel` are one path.
        if seen.contains(&(row.path, row.verb)) {
            continue;
        }
        seen.push((row.path, row.verb));
        let filter = match row.verb {
            Verb::Get => MethodFilter::GET,
            Verb::Post => MethodFilter::POST,
        };
        let handler = move |State(engine): State<Engine>,
                            Extension(caller): Extension<Caller>,
                            Path(path): Path<HashMap<String, String>>,
                            query: Result<Query<HashMap<String, String>>, _>,
                            headers: HeaderMap| async move {
            let query: Result<_, axum::extract::rejection::QueryRejection> = query;
            match query {
                Ok(Query(query)) => {
                    answer(&engine, &caller, row, path, query, &headers).await.into_response()
                }
                Err(bad) => Problem::new(StatusCode::BAD_REQUEST, bad.body_text()).into_response(),
            }
        };
        let routes = paths.remove(row.path).unwrap_or_default();
        paths.insert(row.path, routes.merge(on(filter, handler)));
    }
    let mut router = Router::new();
    for (path, routes) in paths {
        router = router.route(path, routes.fallback(wrong_method));
    }
    router.with_state(engine)
}

async fn wrong_method() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this path is asked in another way, see /openapi.json")
}

/// What nobody serves.
pub async fn not_found() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "there is no such path, see /openapi.json")
}

async fn answer(
    engine: &Engine,
    caller: &Caller,
    row: &'static Row,
    path: HashMap<String, String>,
    query: HashMap<String, String>,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let form = Form::wanted(headers);
    let is_list = matches!(row.answers, Answers::List(_));
    let bad = |detail: &str| Problem::new(StatusCode::BAD_REQUEST, detail);
    let mut arguments = Arguments::new();
    for parameter in row.parameters {
        let from = if parameter.place == Place::Path { &path } else { &query };
        arguments.extend(from.get(parameter.name).map(|value| (parameter.name, value.clone())));
    }
    let known = |name: &str| {
        let of_row =
            row.parameters.iter().any(|parameter| parameter.name == name && parameter.place != Place::Path);
        of_row || is_list && matches!(name, "limit" | "cursor") || row.verb == Verb::Get && name == "pods"
    };
    if let Some(unknown) = query.keys().find(|name| !known(name)) {
        return Err(bad(&format!("{unknown:?} is no parameter of this path, see /openapi.json")));
    }
    let pods = matches!(query.get("pods").map(String::as_str), Some("" | "true"));
    let limit = match query.get("limit").map(|limit| limit.parse::<usize>()) {
        None if form == Form::Json => Some(PAGE),
        None => None,
        Some(Ok(limit)) if limit > 0 && (form != Form::Json || limit <= LARGEST_PAGE) => Some(limit),
        Some(_) => return Err(bad(&format!("limit has to be a number from 1 to {LARGEST_PAGE}"))),
    };
    let operation = (row.from_arguments)(&arguments).map_err(bad)?;
    let cursor = query.get("cursor").map(String::as_str).unwrap_or_default();
    let answer = match engine.run(caller, operation.clone(), cursor, limit).await {
        Ok(answer) => answer,
        Err(Failure::NotFound) if form == Form::Text => {
            return Ok((StatusCode::NOT_FOUND, text_headers(), table::not_found(&operation)).into_response());
        }
        Err(failure) => return Err(failure.into()),
    };
    match (answer, form) {
        (Answer::List(listing), Form::Json) => page(*listing, row).await.map(IntoResponse::into_response),
        (Answer::List(listing), Form::Lines) => lines(*listing).await,
        (Answer::List(listing), Form::Text) => text(*listing, pods).await,
        (answer, Form::Text) => Ok((text_headers(), one_as_text(&operation, &answer, pods)).into_response()),
        (answer, _) => Ok(Json(one_as_json(&answer)?).into_response()),
    }
}

/// In which form an answer is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    Lines,
    Text,
}

impl Form {
    fn wanted(headers: &HeaderMap) -> Self {
        let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
        let first = accept.split([',', ';']).next().unwrap_or_default().trim();
        match first {
            "application/x-ndjson" | "application/jsonl" => Form::Lines,
            "text/plain" => Form::Text,
            _ => Form::Json,
        }
    }
}

fn text_headers() -> [(header::HeaderName, &'static str); 1] {
    [(header::CONTENT_TYPE, "text/plain; charset=utf-8")]
}

async fn page(mut listing: Listing, row: &Row) -> Result<Json<Value>, Problem> {
    let Answers::List(field) = row.answers else { return Err(unwritable()) };
    let mut entries: Vec<Entry> = Vec::new();
    loop {
        let chunk = listing.next().await?;
        if chunk.is_empty() {
            break;
        }
        entries.extend(chunk);
    }
    let (missing, next) = (listing.missing().list(), listing.cursor());
    Ok(Json(json!({ field: entries, "missing": missing, "next": next })))
}

/// The first chunk decides whether it is an error; later ones can only say so in the last line.
async fn lines(mut listing: Listing) -> Result<Response, Problem> {
    let first = listing.next().await?;
    let stream = futures::stream::unfold(Some((listing, Some(first))), |state| async move {
        let (mut listing, first) = state?;
        let chunk = match first {
            Some(chunk) => Ok(chunk),
            None => listing.next().await,
        };
        let (text, next) = match chunk {
            Ok(entries) if !entries.is_empty() => (entries.iter().map(line).collect(), Some((listing, None))),
            ended => {
                let problem = ended.err().map(Problem::from);
                let end = EndFacts { missing: listing.missing().list(), next: listing.cursor(), problem };
                (line(&End { end }), None)
            }
        };
        Some((Ok::<_, Infallible>(Bytes::from(text)), next))
    });
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(stream)).into_response())
}

fn line(value: &impl Serialize) -> String {
    match serde_json::to_string(value) {
        Ok(text) => text + "\n",
        Err(cause) => {
            tracing::error!(%cause, "could not write a line of JSON");
            String::new()
        }
    }
}

async fn text(mut listing: Listing, pods: bool) -> Result<Response, Problem> {
    let first = listing.next().await?;
    let sheet = Sheet::new(listing.operation().clone(), pods);
    let stream = futures::stream::unfold(Some((listing, sheet, Some(first))), |state| async move {
        let (mut listing, mut sheet, first) = state?;
        let chunk = match first {
            Some(chunk) => Ok(chunk),
            None => listing.next().await,
        };
        let (text, next) = match chunk {
            Ok(entries) if !entries.is_empty() => (sheet.rows(&entries), Some((listing, sheet, None))),
            Ok(_) if listing.missing().is_empty() => (sheet.foot(), None),
            Ok(_) => (sheet.foot() + &table::missing(&listing.missing().list()), None),
            Err(failure) => (format!("The list is not complete: {failure}.\n"), None),
        };
        Some((Ok::<_, Infallible>(Bytes::from(text)), next))
    });
    Ok((text_headers(), Body::from_stream(stream)).into_response())
}

pub(crate) fn one_as_json(answer: &Answer) -> Result<Value, Problem> {
    let value = match answer {
        // A list is written by its own functions.
        Answer::List(_) => return Err(unwritable()),
        Answer::Peer(answer) => serde_json::to_value(answer),
        Answer::User(answer) => serde_json::to_value(answer),
        Answer::Pruned(answer) => serde_json::to_value(answer),
        Answer::Unregistered(answer) => serde_json::to_value(answer),
        Answer::Qualified(answer) => serde_json::to_value(answer),
        Answer::Pods(answer) => serde_json::to_value(answer),
        Answer::Reindexed(answer) => serde_json::to_value(answer),
        Answer::Addresses(answer) => serde_json::to_value(answer),
        Answer::Diagnosed(answer) => serde_json::to_value(answer),
    };
    value.map_err(|_| unwritable())
}

fn unwritable() -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the answer could not be written")
}

/// What the words print when they are answered with one message.
fn one_as_text(operation: &Operation, answer: &Answer, pods: bool) -> String {
    let (text, missing) = one(operation, answer, pods);
    if missing.is_empty() { text } else { text + &table::missing(missing) }
}

/// The text of an answer, and who did not answer.
pub(crate) fn one<'a>(operation: &Operation, answer: &'a Answer, pods: bool) -> (String, &'a [pb::Missing]) {
    match answer {
        Answer::List(_) => (String::new(), &[]),
        Answer::Peer(answer) => {
            let text = answer.peer.as_ref().map(|detail| table::peer(detail, pods)).unwrap_or_default();
            (text, &answer.missing)
        }
        Answer::User(answer) => {
            let text = answer.user.as_ref().map(table::user).unwrap_or_default();
            (text, &answer.missing)
        }
        Answer::Pruned(answer) => {
            let text = match operation {
                Operation::PruneRealtime(which) => table::pruned(which, answer),
                _ => String::new(),
            };
            (text, &answer.missing)
        }
        Answer::Unregistered(answer) => {
            let name = match operation {
                Operation::Unregister { name } => name.as_str(),
                _ => "",
            };
            (table::unregistered(name, answer), &answer.missing)
        }
        // chan_sip prints nothing when it has asked.
        Answer::Qualified(answer) => (String::new(), &answer.missing),
        Answer::Pods(answer) => (table::pods(answer), &answer.missing),
        Answer::Reindexed(answer) => (format!("{} peers indexed.\n", answer.found), &answer.missing),
        Answer::Addresses(answer) => (table::addresses(answer), &answer.missing),
        Answer::Diagnosed(answer) => (table::findings(answer), &answer.missing),
    }
}
