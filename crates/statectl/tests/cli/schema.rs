//! Checks documents against `docs/json.schema.json`. It knows the keywords of JSON Schema that the file uses, panics on any
//! other, and is stricter than a validator: a member that no schema describes is an error. The known crates for JSON Schema
//! would add more than fifty dependencies.

use serde_json::{Map, Value};

/// The descriptions of every document.
pub(crate) struct Schema(Value);

impl Schema {
    pub(crate) fn new() -> Self {
        let text = include_str!("../../../../docs/json.schema.json");
        Self(serde_json::from_str(text).unwrap())
    }

    /// The kinds of documents that it describes.
    pub(crate) fn kinds(&self) -> Vec<&str> {
        let one_of = self.0["oneOf"].as_array().unwrap();
        one_of
            .iter()
            .map(|schema| name(schema["$ref"].as_str().unwrap()))
            .collect()
    }

    /// Checks a document against the schema of its kind, and returns the kind.
    #[track_caller]
    pub(crate) fn check(&self, document: &Value) -> String {
        let kind = document["kind"].as_str().unwrap();
        assert!(self.kinds().contains(&kind), "no schema for {document}");
        if let Err(flaw) = self.flaw(&self.0["$defs"][kind], document, kind) {
            panic!("{flaw}: {document}");
        }
        kind.into()
    }

    fn flaw(&self, schema: &Value, value: &Value, path: &str) -> Result<(), String> {
        let members = schema.as_object().unwrap();
        for (keyword, argument) in members {
            match keyword.as_str() {
                "description" | "format" | "additionalProperties" | "properties" => {}
                "$ref" => self.flaw(&self.0["$defs"][name(argument.as_str().unwrap())], value, path)?,
                "const" if value != argument => return Err(format!("{path} is not {argument}")),
                "enum" if !argument.as_array().unwrap().contains(value) => {
                    return Err(format!("{path} is none of {argument}"));
                }
                "const" | "enum" => {}
                "type" => {
                    let allowed = argument
                        .as_array()
                        .cloned()
                        .unwrap_or_else(|| vec![argument.clone()]);
                    if !allowed.iter().any(|kind| is_a(value, kind.as_str().unwrap())) {
                        return Err(format!("{path} is no {argument}"));
                    }
                }
                "minimum" if value.as_u64() < argument.as_u64() && !value.is_null() => {
                    return Err(format!("{path} is below {argument}"));
                }
                "minimum" => {}
                "anyOf" => {
                    let mut any = argument.as_array().unwrap().iter();
                    if !any.any(|schema| self.flaw(schema, value, path).is_ok()) {
                        return Err(format!("{path} fits no alternative"));
                    }
                }
                "items" => {
                    for item in value.as_array().unwrap() {
                        self.flaw(argument, item, &format!("{path}[]"))?;
                    }
                }
                "required" => {
                    for name in argument.as_array().unwrap() {
                        if value.get(name.as_str().unwrap()).is_none() {
                            return Err(format!("{path} has no {name}"));
                        }
                    }
                }
                unknown => panic!("this validator does not know the keyword {unknown}"),
            }
        }
        match (members.get("properties"), value) {
            (Some(Value::Object(properties)), Value::Object(value)) => self.members(properties, value, path),
            _ => Ok(()),
        }
    }

    fn members(
        &self,
        properties: &Map<String, Value>,
        value: &Map<String, Value>,
        path: &str,
    ) -> Result<(), String> {
        for (name, member) in value {
            let Some(schema) = properties.get(name) else {
                return Err(format!("{path}.{name} is not described"));
            };
            self.flaw(schema, member, &format!("{path}.{name}"))?;
        }
        Ok(())
    }
}

fn name(reference: &str) -> &str {
    reference.strip_prefix("#/$defs/").unwrap()
}

fn is_a(value: &Value, kind: &str) -> bool {
    match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        unknown => panic!("no type {unknown}"),
    }
}

#[test]
fn validator_finds_each_kind_of_flaw() {
    let schema = Schema::new();
    let good = serde_json::json!({"kind": "deleted", "format-version": 1, "stack": "a/b", "revision": "r", "existed": true});
    schema.check(&good);
    for (member, value) in [
        ("format-version", Value::from(2)),
        ("existed", "yes".into()),
        ("revision", Value::Null),
        ("surprise", 1.into()),
    ] {
        let mut bad = good.clone();
        bad[member] = value;
        assert!(
            schema.flaw(&schema.0["$defs"]["deleted"], &bad, "").is_err(),
            "{member}"
        );
    }
    let mut bad = good;
    bad.as_object_mut().unwrap().remove("existed");
    assert!(schema.flaw(&schema.0["$defs"]["deleted"], &bad, "").is_err());
}
