//! A field that was written once keeps its number, type and place, and a method its name: two releases run side by side.
//!
//! `descriptors.txt` lists everything that was ever released. To add to it, run with `FAIRLEAD_WRITE_DESCRIPTORS=1`;
//! lines may be added, never changed or removed.
#![allow(clippy::unwrap_used, clippy::panic)] // A test that cannot go on has failed.

use std::collections::BTreeSet;
use std::path::Path;

use prost::Message;
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorSet};

fn summary() -> BTreeSet<String> {
    let set = FileDescriptorSet::decode(fairlead_proto::DESCRIPTORS).unwrap();
    let mut lines = BTreeSet::new();
    for file in set.file.iter().filter(|file| file.package().starts_with("fairlead.")) {
        for message in &file.message_type {
            describe_message(file.package(), message, &mut lines);
        }
        for one in &file.enum_type {
            describe_enum(file.package(), one, &mut lines);
        }
        for service in &file.service {
            for method in &service.method {
                let up = if method.client_streaming() { "stream " } else { "" };
                let down = if method.server_streaming() { "stream " } else { "" };
                lines.insert(format!(
                    "rpc {}.{}/{} ({up}{}) -> ({down}{})",
                    file.package(),
                    service.name(),
                    method.name(),
                    method.input_type(),
                    method.output_type()
                ));
            }
        }
    }
    lines
}

fn describe_message(prefix: &str, message: &DescriptorProto, lines: &mut BTreeSet<String>) {
    let name = format!("{prefix}.{}", message.name());
    for field in &message.field {
        let kind = match field.type_name() {
            "" => field.r#type().as_str_name().trim_start_matches("TYPE_").to_lowercase(),
            named => named.to_owned(),
        };
        let label = field.label().as_str_name().trim_start_matches("LABEL_").to_lowercase();
        let place = match field.oneof_index {
            Some(_) if field.proto3_optional() => " presence".to_owned(),
            Some(index) => format!(" in {}", message.oneof_decl[index as usize].name()),
            None => String::new(),
        };
        // By number: a field that gets another name stays the same on the wire, but not in JSON.
        lines.insert(format!("field {name} {:03} {} {label} {kind}{place}", field.number(), field.name()));
    }
    for nested in &message.nested_type {
        describe_message(&name, nested, lines);
    }
    for one in &message.enum_type {
        describe_enum(&name, one, lines);
    }
}

fn describe_enum(prefix: &str, one: &EnumDescriptorProto, lines: &mut BTreeSet<String>) {
    for value in &one.value {
        lines.insert(format!("value {prefix}.{} {:03} {}", one.name(), value.number(), value.name()));
    }
}

#[test]
fn nothing_that_was_released_is_removed_renumbered_or_retyped() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("descriptors.txt");
    let now = summary();
    if std::env::var_os("FAIRLEAD_WRITE_DESCRIPTORS").is_some() {
        let text: String = now.iter().map(|line| format!("{line}\n")).collect();
        std::fs::write(&path, text).unwrap();
        return;
    }
    let released = std::fs::read_to_string(&path).unwrap();
    let gone: Vec<&str> = released.lines().filter(|line| !now.contains(*line)).collect();
    assert!(gone.is_empty(), "released, and no longer so:\n{}", gone.join("\n"));
}

#[test]
fn the_summary_sees_numbers_types_and_methods() {
    let lines = summary();
    for line in [
        "field fairlead.common.v1.Flow 001 pod optional fixed64",
        "field fairlead.registrar.v1.Envelope 010 register optional .fairlead.registrar.v1.Register in ask",
        "rpc fairlead.media.v1.Relay/Offer (.fairlead.media.v1.OfferRequest) -> (.fairlead.media.v1.OfferResponse)",
        "value fairlead.common.v1.Side 002 SIDE_B",
    ] {
        assert!(
            lines.contains(line),
            "{line} is not in\n{}",
            lines.into_iter().collect::<Vec<_>>().join("\n")
        );
    }
}
