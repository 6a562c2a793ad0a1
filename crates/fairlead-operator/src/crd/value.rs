//! The kinds of values that options take in a `SipPeer`: each knows its schema, and the text of its column.
//!
//! Reading one never fails on a word that this release does not know: the API server checked it against the schema,
//! and a registrar judges it again. So one odd object cannot hide all others.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A value that has a column.
pub trait Column {
    /// The column's text; `None` where an empty value says as much as none.
    fn text(&self) -> Option<String>;
}

impl Column for bool {
    fn text(&self) -> Option<String> {
        Some(if *self { "yes" } else { "no" }.to_owned())
    }
}

/// A whole number from `LEAST` to `MOST`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Int<const LEAST: i32, const MOST: i32>(pub i32);

impl<const LEAST: i32, const MOST: i32> Column for Int<LEAST, MOST> {
    fn text(&self) -> Option<String> {
        Some(self.0.to_string())
    }
}

impl<const LEAST: i32, const MOST: i32> JsonSchema for Int<LEAST, MOST> {
    fn schema_name() -> Cow<'static, str> {
        format!("Int{LEAST}To{MOST}").into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "format": "int32", "minimum": LEAST, "maximum": MOST })
    }
}

/// No control characters: what is written here goes into messages and lines.
const PRINTABLE: &str = r"^[^\x00-\x1f\x7f]*$";

/// As [`PRINTABLE`], without what separates the entries of a column.
const ENTRY: &str = r"^[^\x00-\x1f\x7f,;]+$";

/// One line of text, at most `MOST` characters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Text<const MOST: u32 = 255>(pub String);

impl<const MOST: u32> Column for Text<MOST> {
    fn text(&self) -> Option<String> {
        let text = self.0.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }
}

impl<const MOST: u32> JsonSchema for Text<MOST> {
    fn schema_name() -> Cow<'static, str> {
        format!("Text{MOST}").into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "maxLength": MOST, "pattern": PRINTABLE })
    }
}

/// One entry of a list of texts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Entry(pub String);

impl Column for Entry {
    fn text(&self) -> Option<String> {
        let text = self.0.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }
}

impl JsonSchema for Entry {
    fn schema_name() -> Cow<'static, str> {
        "Entry".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": 1, "maxLength": 128, "pattern": ENTRY })
    }
}

/// A network: an address, ADDRESS/BITS or ADDRESS/MASK.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Network(pub String);

impl Column for Network {
    fn text(&self) -> Option<String> {
        Some(self.0.clone())
    }
}

impl JsonSchema for Network {
    fn schema_name() -> Cow<'static, str> {
        "Network".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "maxLength": 79,
            "x-kubernetes-validations": [{
                "rule": r"isIP(self) || isCIDR(self) || (self.matches('^[0-9.]+/[0-9]{1,3}[.][0-9]{1,3}[.][0-9]{1,3}[.][0-9]{1,3}$') && self.split('/').all(part, isIP(part)))",
                "message": "must be an IP address, ADDRESS/BITS or ADDRESS/MASK",
            }],
        })
    }
}

/// An IP address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Address(pub String);

impl Column for Address {
    fn text(&self) -> Option<String> {
        Some(self.0.clone())
    }
}

impl JsonSchema for Address {
    fn schema_name() -> Cow<'static, str> {
        "Address".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "maxLength": 45,
            "x-kubernetes-validations": [{ "rule": "isIP(self)", "message": "must be an IP address" }],
        })
    }
}

/// Several values in one column, with commas between them, in this order. Lists are replaced as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct List<T, const MOST: u32 = 32>(pub Vec<T>);

impl<T: Column, const MOST: u32> Column for List<T, MOST> {
    fn text(&self) -> Option<String> {
        let entries: Vec<String> = self.0.iter().filter_map(Column::text).collect();
        (!entries.is_empty()).then(|| entries.join(","))
    }
}

impl<T: JsonSchema, const MOST: u32> JsonSchema for List<T, MOST> {
    fn schema_name() -> Cow<'static, str> {
        format!("ListOf{}", T::schema_name()).into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let items = T::json_schema(generator);
        json_schema!({ "type": "array", "items": items, "maxItems": MOST, "x-kubernetes-list-type": "atomic" })
    }
}

/// As [`List`], where no entry says `no`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ListOrNo<T, const MOST: u32 = 8>(pub List<T, MOST>);

impl<T: Column, const MOST: u32> Column for ListOrNo<T, MOST> {
    fn text(&self) -> Option<String> {
        Some(self.0.text().unwrap_or_else(|| "no".to_owned()))
    }
}

impl<T: JsonSchema, const MOST: u32> JsonSchema for ListOrNo<T, MOST> {
    fn schema_name() -> Cow<'static, str> {
        format!("ListOrNoOf{}", T::schema_name()).into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        List::<T, MOST>::json_schema(generator)
    }
}

/// `NAME=VALUE` entries, each name once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Variables(pub BTreeMap<String, String>);

impl Column for Variables {
    fn text(&self) -> Option<String> {
        let entries: Vec<String> = self.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
        (!entries.is_empty()).then(|| entries.join(";"))
    }
}

impl JsonSchema for Variables {
    fn schema_name() -> Cow<'static, str> {
        "Variables".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "maxProperties": 64,
            "additionalProperties": { "type": "string", "maxLength": 255, "pattern": r"^[^\x00-\x1f\x7f;]*$" },
            "x-kubernetes-validations": [{
                "rule": "self.all(name, name.matches('^[A-Za-z0-9_()]{1,80}$'))",
                "message": "names are letters, digits, _ and parentheses, at most 80",
            }],
        })
    }
}

/// Header fields of requests, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Headers(pub Vec<Header>);

/// One header field.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

impl Column for Headers {
    fn text(&self) -> Option<String> {
        let lines: Vec<String> = self.0.iter().map(|line| format!("{}: {}", line.name, line.value)).collect();
        (!lines.is_empty()).then(|| lines.join(";"))
    }
}

impl JsonSchema for Headers {
    fn schema_name() -> Cow<'static, str> {
        "Headers".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // RFC 3261 §25.1: token.
        json_schema!({
            "type": "array",
            "maxItems": 32,
            "x-kubernetes-list-type": "atomic",
            "items": {
                "type": "object",
                "required": ["name", "value"],
                "properties": {
                    "name": {
                        "type": "string", "minLength": 1, "maxLength": 64,
                        "pattern": "^[A-Za-z0-9.!%*_+`'~-]+$",
                        "description": "Its name.",
                    },
                    "value": {
                        "type": "string", "maxLength": 255, "pattern": r"^[^\x00-\x1f\x7f;]*$",
                        "description": "Its value.",
                    },
                },
            },
        })
    }
}

/// Options of call completion (`cc_…`) by their names without `cc_`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CallCompletion(pub BTreeMap<String, String>);

impl JsonSchema for CallCompletion {
    fn schema_name() -> Cow<'static, str> {
        "CallCompletion".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "maxProperties": 16,
            "additionalProperties": { "type": "string", "maxLength": 255, "pattern": PRINTABLE },
            "x-kubernetes-validations": [{
                "rule": "self.all(name, name.matches('^[a-z_]{1,60}$'))",
                "message": "names are those of chan_sip without cc_, for example agent_policy",
            }],
        })
    }
}

/// Declares a word out of a few: as it stands in a `SipPeer`, and what the column says. YAML reads `yes`, `no`, `on`
/// and `off` as booleans, so where chan_sip has these among other words they are `enabled` and `disabled` here.
macro_rules! words {
    ($($(#[$doc:meta])* $name:ident { $($word:literal $(= $column:literal)?),+ $(,)? })+) => { $(
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl Column for $name {
            fn text(&self) -> Option<String> {
                Some(match self.0.as_str() {
                    $($($word => $column.to_owned(),)?)+
                    other => other.to_owned(),
                })
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "enum": [$($word),+] })
            }
        }
    )+ };
}

words! {
    /// `type`
    Kind { "friend", "peer", "user" }
    /// Words of `insecure`.
    InsecureWord { "port", "invite" }
    /// Words of `nat`.
    NatWord { "force_rport", "comedia", "auto_force_rport", "auto_comedia" }
    /// Words of `transport`.
    TransportWord { "udp", "tcp", "tls", "ws", "wss" }
    /// Words of `auth_algorithms` (RFC 8760).
    Algorithm { "SHA-512-256", "SHA-256", "MD5" }
    /// Words of `directmedia`.
    DirectMediaWord { "enabled" = "yes", "nonat", "update", "outgoing" }
    /// `dtmfmode`
    Dtmf { "rfc2833", "info", "shortinfo", "inband", "auto" }
    /// `videosupport`
    Video { "disabled" = "no", "enabled" = "yes", "always" }
    /// `progressinband`
    Progress { "never", "disabled" = "no", "enabled" = "yes" }
    /// `sendrpid`
    Rpid { "disabled" = "no", "rpid", "pai" }
    /// `trust_id_outbound`
    TrustId { "disabled" = "no", "enabled" = "yes", "legacy" }
    /// `allowoverlap`
    OverlapWord { "disabled" = "no", "enabled" = "yes", "dtmf" }
    /// `session-timers` (RFC 4028)
    Timers { "accept", "originate", "refuse" }
    /// `session-refresher`
    Refresher { "uac", "uas" }
    /// `faxdetect`
    Fax { "disabled" = "no", "enabled" = "yes", "cng", "t38" }
    /// `amaflags`
    Ama { "default", "omit", "billing", "documentation" }
    /// `callingpres`
    Presentation {
        "allowed_not_screened", "allowed_passed_screen", "allowed_failed_screen", "allowed",
        "prohib_not_screened", "prohib_passed_screen", "prohib_failed_screen", "prohib", "unavailable",
    }
    /// `encryption_taglen`
    TagBits { "80", "32" }
    /// `dtlssetup` (RFC 4145)
    DtlsRole { "active", "passive", "actpass" }
    /// `dtlsfingerprint`
    Digest { "sha-1", "sha-256" }
    /// `rtpsource`
    Source { "signalled", "signalling", "any" }
    /// Error correction of `t38pt_udptl`.
    T38Word { "disabled" = "no", "fec" = "yes,fec", "redundancy" = "yes,redundancy", "none" = "yes,none" }
}

/// A name of a codec, with its packet length, or one that is taken out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Codec(pub String);

impl Column for Codec {
    fn text(&self) -> Option<String> {
        Some(self.0.clone())
    }
}

impl JsonSchema for Codec {
    fn schema_name() -> Cow<'static, str> {
        "Codec".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "maxLength": 24, "pattern": "^!?[A-Za-z0-9]{1,16}(:[1-9][0-9]{0,2})?$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_and_words_become_those_of_chan_sip() {
        assert_eq!(true.text().unwrap(), "yes");
        assert_eq!(Video("disabled".to_owned()).text().unwrap(), "no");
        assert_eq!(T38Word("redundancy".to_owned()).text().unwrap(), "yes,redundancy");
    }

    #[test]
    fn an_empty_list_says_no_only_where_that_is_a_word() {
        assert_eq!(List::<Entry>(Vec::new()).text(), None);
        assert_eq!(ListOrNo::<NatWord>(List(Vec::new())).text().unwrap(), "no");
        let both = List(vec![NatWord("force_rport".to_owned()), NatWord("comedia".to_owned())]);
        assert_eq!(ListOrNo::<NatWord>(both).text().unwrap(), "force_rport,comedia");
    }

    #[test]
    fn a_word_of_a_newer_release_can_be_read() {
        let word: Dtmf = serde_json::from_str("\"telepathy\"").unwrap();
        assert_eq!(word.text().unwrap(), "telepathy");
    }
}
