//! The OpenAPI 3.1 document, read off the table of operations and the messages.

use fairlead_proto::admin::v1 as pb;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::path::{HttpMethod, OperationBuilder, ParameterBuilder, ParameterIn, PathsBuilder};
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, InfoBuilder, OpenApi, OpenApiBuilder, Ref, RefOr, Required, ResponseBuilder, Schema,
};
use utoipa::{PartialSchema, ToSchema};

use crate::operation::{Answers, Parameter, Permission, Place, Row, TABLE, Verb};
use crate::rest::problem::Problem;
use crate::rest::{End, LARGEST_PAGE, PAGE};

/// The document.
pub fn document() -> OpenApi {
    let mut paths = PathsBuilder::new();
    let mut seen: Vec<(&str, Verb)> = Vec::new();
    for row in TABLE {
        if seen.contains(&(row.path, row.verb)) {
            continue;
        }
        seen.push((row.path, row.verb));
        let method = match row.verb {
            Verb::Get => HttpMethod::Get,
            Verb::Post => HttpMethod::Post,
        };
        let item = utoipa::openapi::path::PathItemBuilder::new().operation(method, operation(row)).build();
        paths = paths.path(row.path, item);
    }
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("Fairlead")
                .version("v1")
                .description(Some(
                    "What `sip …` does and shows, for the whole edge at once. Lists come a page at a time; with \
                     `Accept: application/x-ndjson` all entries come one a line, and a last line with `end`; with \
                     `Accept: text/plain` chan_sip's table comes. An answer is complete when `missing` is empty. The \
                     same operations are the gRPC service fairlead.admin.v1.Admin on the same port.",
                ))
                .build(),
        )
        .paths(paths)
        .components(Some(components()))
        .security(Some([SecurityRequirement::new("token", Vec::<String>::new())]))
        .build()
}

/// The document as it is served and checked in.
pub fn text() -> String {
    let mut text = match document().to_pretty_json() {
        Ok(text) => text,
        Err(cause) => {
            tracing::error!(%cause, "could not write the OpenAPI document");
            return String::new();
        }
    };
    text.push('\n');
    text
}

fn operation(row: &Row) -> OperationBuilder {
    let json = |schema: RefOr<Schema>| ContentBuilder::new().schema(Some(schema)).build();
    let mut success = ResponseBuilder::new()
        .description("The answer")
        .content("application/json", json(reference(&format!("{}Response", row.id))));
    let mut operation = OperationBuilder::new()
        .operation_id(Some(row.id))
        .summary(Some(row.summary))
        .description(Some(row.usage.trim_end()));
    for known in row.parameters {
        operation = operation.parameter(parameter(known));
    }
    if row.verb == Verb::Get {
        operation = operation.parameter(parameter(&PODS));
    }
    let text = ObjectBuilder::new().schema_type(Type::String).build();
    if let Answers::List(field) = row.answers {
        for paging in paging() {
            operation = operation.parameter(paging);
        }
        let lines = utoipa::openapi::schema::OneOfBuilder::new()
            .item(entry(field))
            .item(reference("End"))
            .description(Some("One line: an entry, or the end"))
            .build();
        success = success.content("application/x-ndjson", json(RefOr::T(Schema::OneOf(lines))));
    }
    success = success.content("text/plain", json(RefOr::T(Schema::Object(text))));
    operation = operation.response("200", success.build());
    let problems = [
        ("400", "The question makes no sense"),
        ("401", "The token is missing or wrong"),
        ("404", "Nobody has that name"),
        ("503", "No pod that would know answered, or the token could not be checked"),
    ];
    let forbidden = format!("Whoever bears the token may not: {} is needed", written(row));
    let problems = problems.map(|(status, why)| (status, why.to_owned())).into_iter();
    for (status, why) in problems.chain([("403", forbidden)]) {
        let is_named = row.parameters.iter().any(|known| known.place == Place::Path);
        if status == "404" && !is_named {
            continue;
        }
        let problem = ResponseBuilder::new()
            .description(why)
            .content("application/problem+json", json(reference("Problem")))
            .build();
        operation = operation.response(status, problem);
    }
    operation
}

fn written(row: &Row) -> Permission {
    Permission { needs: row.needs, name: String::new() }
}

const PODS: Parameter =
    Parameter { name: "pods", place: Place::Switch, about: "In text: append a column that names the pod." };

fn parameter(known: &Parameter) -> ParameterBuilder {
    let (place, required, kind) = match known.place {
        Place::Path => (ParameterIn::Path, Required::True, Type::String),
        Place::Text => (ParameterIn::Query, Required::False, Type::String),
        Place::Switch => (ParameterIn::Query, Required::False, Type::Boolean),
    };
    ParameterBuilder::new()
        .name(known.name)
        .parameter_in(place)
        .required(required)
        .description(Some(known.about))
        .schema(Some(ObjectBuilder::new().schema_type(kind).build()))
}

fn paging() -> [ParameterBuilder; 2] {
    let limit = ObjectBuilder::new()
        .schema_type(Type::Integer)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int32)))
        .minimum(Some(1))
        .maximum(Some(i32::try_from(LARGEST_PAGE).unwrap_or(i32::MAX)))
        .default(Some(PAGE.into()))
        .build();
    let query = |name: &str, about: &str| {
        ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Query)
            .required(Required::False)
            .description(Some(about))
    };
    [
        query("limit", "Entries at most. In NDJSON and text all of them when it is absent.")
            .schema(Some(limit)),
        query("cursor", "`next` of the page before.")
            .schema(Some(ObjectBuilder::new().schema_type(Type::String).build())),
    ]
}

fn entry(field: &str) -> RefOr<Schema> {
    reference(match field {
        "peers" => "Peer",
        "users" => "User",
        "channels" => "Channel",
        "channelstats" => "ChannelStats",
        "bridges" => "Bridge",
        _ => "InUse",
    })
}

fn reference(name: &str) -> RefOr<Schema> {
    RefOr::Ref(Ref::from_schema_name(name))
}

fn components() -> utoipa::openapi::Components {
    let mut all: Vec<(String, RefOr<Schema>)> = Vec::new();
    fn add<T: ToSchema + PartialSchema>(all: &mut Vec<(String, RefOr<Schema>)>) {
        all.push((T::name().into_owned(), T::schema()));
        T::schemas(all);
    }
    add::<pb::ListPeersResponse>(&mut all);
    add::<pb::GetPeerResponse>(&mut all);
    add::<pb::ListUsersResponse>(&mut all);
    add::<pb::GetUserResponse>(&mut all);
    add::<pb::ListChannelsResponse>(&mut all);
    add::<pb::ListChannelStatsResponse>(&mut all);
    add::<pb::ListBridgesResponse>(&mut all);
    add::<pb::ListInUseResponse>(&mut all);
    add::<pb::PruneRealtimeResponse>(&mut all);
    add::<pb::UnregisterResponse>(&mut all);
    add::<pb::QualifyPeerResponse>(&mut all);
    add::<pb::ListPodsResponse>(&mut all);
    add::<pb::ReindexResponse>(&mut all);
    add::<pb::ListAddressesResponse>(&mut all);
    add::<pb::DiagnoseResponse>(&mut all);
    add::<Problem>(&mut all);
    add::<End>(&mut all);
    let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
    ComponentsBuilder::new()
        .schemas_from_iter(all)
        .security_scheme("token", SecurityScheme::Http(token))
        .build()
}
