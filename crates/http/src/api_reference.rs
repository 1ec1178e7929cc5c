//! `/help/api`: the management API for people to read, made from the same document that programs read.
//!
//! Everything on the page stands in the document ([`crate::management::openapi`]); here it is only put into words and
//! order. The page loads nothing and works without scripts, like all of them ([`crate::pages`]).

#![expect(
    clippy::indexing_slicing,
    reason = "a JSON value that is asked for what it does not have gives null"
)]

use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::management::openapi::{self, RIGHT};

/// The document as a page shows it.
pub(crate) struct Reference {
    pub(crate) version: String,
    pub(crate) description: String,
    pub(crate) chapters: Vec<Chapter>,
    pub(crate) schemas: Vec<SchemaText>,
}

/// A chapter of operations.
pub(crate) struct Chapter {
    pub(crate) title: String,
    pub(crate) description: String,
    pub(crate) operations: Vec<OperationText>,
}

/// One operation.
pub(crate) struct OperationText {
    pub(crate) id: String,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) summary: String,
    /// The right; `None` where there is another way to be let in.
    pub(crate) right: Option<String>,
    pub(crate) parameters: Vec<FieldText>,
    pub(crate) body: Option<TypeText>,
    pub(crate) body_fields: Vec<FieldText>,
    pub(crate) answers: Vec<AnswerText>,
    /// The arguments of `curl` but for the server's address.
    pub(crate) curl: String,
}

/// A status that an operation answers.
pub(crate) struct AnswerText {
    pub(crate) status: String,
    pub(crate) description: String,
    pub(crate) content: Option<TypeText>,
}

/// A type with its fields, or its names.
pub(crate) struct SchemaText {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) kind: Option<TypeText>,
    pub(crate) fields: Vec<FieldText>,
}

/// A parameter or a field.
pub(crate) struct FieldText {
    pub(crate) name: String,
    pub(crate) kind: TypeText,
    pub(crate) is_required: bool,
    pub(crate) description: String,
}

/// What a value is, in words, with the types that it leads to.
pub(crate) struct TypeText {
    pub(crate) words: String,
    pub(crate) links: Vec<String>,
}

impl Reference {
    /// Reads the document once, for every request.
    pub(crate) fn new() -> Self {
        let document = serde_json::to_value(openapi::document()).unwrap_or_default();
        let reader = Reader(&document);
        Self {
            version: text(&document["info"]["version"]),
            description: text(&document["info"]["description"]),
            chapters: items(&document["tags"]).map(|tag| reader.chapter(tag)).collect(),
            schemas: members(&document["components"]["schemas"])
                .map(|(name, schema)| reader.schema(name, schema))
                .collect(),
        }
    }
}

struct Reader<'a>(&'a Value);

impl Reader<'_> {
    fn chapter(&self, tag: &Value) -> Chapter {
        let title = text(&tag["name"]);
        let mut operations = Vec::new();
        for (path, item) in members(&self.0["paths"]) {
            for (method, operation) in members(item) {
                if items(&operation["tags"]).any(|name| *name == tag["name"]) {
                    operations.push(self.operation(path, method, operation));
                }
            }
        }
        Chapter {
            title,
            description: text(&tag["description"]),
            operations,
        }
    }

    fn operation(&self, path: &str, method: &str, operation: &Value) -> OperationText {
        let parameters = items(&operation["parameters"]).map(|parameter| FieldText {
            name: text(&parameter["name"]),
            kind: kind_of(&parameter["schema"]),
            is_required: parameter["required"] == true,
            description: text(&parameter["description"]),
        });
        let body = &operation["requestBody"]["content"]["application/json"]["schema"];
        let answers = members(&operation["responses"]).map(|(status, response)| {
            let content = members(&response["content"]).next();
            AnswerText {
                status: status.to_owned(),
                description: text(&response["description"]),
                content: content.map(|(_, content)| kind_of(&content["schema"])),
            }
        });
        OperationText {
            id: text(&operation["operationId"]),
            method: method.to_uppercase(),
            path: path.to_owned(),
            summary: text(&operation["summary"]),
            right: operation[RIGHT]
                .as_str()
                .filter(|right| *right != "-")
                .map(str::to_owned),
            parameters: parameters.collect(),
            body: (!body.is_null()).then(|| kind_of(body)),
            body_fields: self.fields(body),
            answers: answers.collect(),
            curl: self.curl(path, method, operation, body),
        }
    }

    /// What stands behind a reference.
    fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        match schema["$ref"]
            .as_str()
            .and_then(|reference| reference.rsplit('/').next())
        {
            Some(name) => &self.0["components"]["schemas"][name],
            None => schema,
        }
    }

    fn schema(&self, name: &str, schema: &Value) -> SchemaText {
        let fields = self.fields(schema);
        SchemaText {
            name: name.to_owned(),
            description: text(&schema["description"]),
            kind: fields.is_empty().then(|| kind_of(schema)),
            fields,
        }
    }

    /// The fields of an object, and of those that it is put together from.
    fn fields(&self, schema: &Value) -> Vec<FieldText> {
        let schema = self.resolve(schema);
        let mut fields: Vec<FieldText> = items(&schema["allOf"])
            .flat_map(|part| self.fields(part))
            .collect();
        fields.extend(members(&schema["properties"]).map(|(name, field)| FieldText {
            name: name.to_owned(),
            kind: kind_of(field),
            is_required: items(&schema["required"]).any(|required| required == name),
            description: description_of(field),
        }));
        fields
    }

    fn curl(&self, path: &str, method: &str, operation: &Value, body: &Value) -> String {
        let path = path.replace('{', "").replace('}', "_ID");
        let path: Vec<String> = path
            .split('/')
            .map(|part| {
                if part.ends_with("_ID") {
                    part.to_uppercase()
                } else {
                    part.to_owned()
                }
            })
            .collect();
        let path = path.join("/");
        let variable = if operation[RIGHT].is_string() {
            "KEYWARD_TOKEN"
        } else {
            "DATATURE_VI_SECRET_KEY"
        };
        let mut arguments = format!("{path} \\\n  -H \"Authorization: Bearer ${variable}\"");
        if method != "get" {
            let _ = write!(arguments, " \\\n  -X {}", method.to_uppercase());
        }
        if !body.is_null() {
            // The example is made of what a request must have, so that it can be sent as it is.
            let example = self.example(body);
            let _ = write!(
                arguments,
                " \\\n  -H \"Content-Type: application/json\" \\\n  -d '{example}'"
            );
        }
        arguments
    }

    fn example(&self, schema: &Value) -> Value {
        let schema = self.resolve(schema);
        if let Some(first) = items(&schema["oneOf"]).find(|one| one["type"] != "null") {
            return self.example(first);
        }
        if !schema["example"].is_null() {
            return schema["example"].clone();
        }
        if let Some(first) = items(&schema["enum"]).next() {
            return first.clone();
        }
        match type_of(schema) {
            "object" => {
                let required = items(&schema["required"]).filter_map(Value::as_str);
                let fields: Map<String, Value> = required
                    .map(|name| (name.to_owned(), self.example(&schema["properties"][name])))
                    .collect();
                Value::Object(fields)
            }
            "array" => Value::Array(vec![self.example(&schema["items"])]),
            "integer" => Value::from(1),
            "boolean" => Value::from(true),
            _ => Value::from("..."),
        }
    }
}

/// What a schema stands for, in words.
fn kind_of(schema: &Value) -> TypeText {
    if let Some(name) = schema["$ref"]
        .as_str()
        .and_then(|reference| reference.rsplit('/').next())
    {
        return TypeText {
            words: String::new(),
            links: vec![name.to_owned()],
        };
    }
    let either: Vec<&Value> = items(&schema["oneOf"])
        .filter(|one| one["type"] != "null")
        .collect();
    if let [one] = either.as_slice() {
        return kind_of(one);
    }
    if !either.is_empty() {
        return TypeText {
            words: String::new(),
            links: either.into_iter().flat_map(|one| kind_of(one).links).collect(),
        };
    }
    let names: Vec<&str> = items(&schema["enum"]).filter_map(Value::as_str).collect();
    if !names.is_empty() {
        return TypeText {
            words: format!("one of {}", names.join(", ")),
            links: Vec::new(),
        };
    }
    if type_of(schema) == "array" {
        let of = kind_of(&schema["items"]);
        let words = if of.words.is_empty() {
            "list of".to_owned()
        } else {
            format!("list of {}s", of.words)
        };
        return TypeText {
            words,
            links: of.links,
        };
    }
    let words = match (type_of(schema), schema["format"].as_str()) {
        ("string", Some("date-time")) => "date and time",
        ("string", _) => "text",
        ("integer", _) => "whole number",
        ("number", _) => "number",
        ("boolean", _) => "true or false",
        _ => "object",
    };
    TypeText {
        words: words.to_owned(),
        links: Vec::new(),
    }
}

/// The type, whether null is possible beside it or not.
fn type_of(schema: &Value) -> &str {
    let named = schema["type"].as_str();
    let beside_null = || {
        items(&schema["type"])
            .filter_map(Value::as_str)
            .find(|name| *name != "null")
    };
    named.or_else(beside_null).unwrap_or("object")
}

/// A field's own description, which may stand beside a reference.
fn description_of(field: &Value) -> String {
    let own = text(&field["description"]);
    if own.is_empty() {
        items(&field["oneOf"])
            .map(|one| text(&one["description"]))
            .collect()
    } else {
        own
    }
}

fn text(value: &Value) -> String {
    // What stands in backticks on a terminal stands plainly here.
    value.as_str().unwrap_or_default().replace('`', "")
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn members(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.as_str(), value))
}
