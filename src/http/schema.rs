//! JSON Schemas of wire types, for OpenAPI and AsyncAPI.

use serde_json::{Map, Value, json};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::protocol::Paginated;

/// A named schema and the schemas it refers to.
pub struct SchemaRef {
    name: String,
    schemas: Vec<(String, RefOr<Schema>)>,
}

impl SchemaRef {
    /// Schema of a type.
    pub fn of<T: ToSchema + PartialSchema>() -> Self {
        let name = T::name().into_owned();
        let mut schemas = vec![(name.clone(), T::schema())];
        T::schemas(&mut schemas);
        Self { name, schemas }
    }

    /// Schema of a page of a type.
    pub fn list_of<T: ToSchema + PartialSchema>() -> Self {
        let mut schema = Self::of::<Paginated<T>>();
        // A generic type has one name for all instances; each needs its own.
        schema.name = format!("{}List", T::name());
        if let Some((name, _)) = schema.schemas.first_mut() {
            name.clone_from(&schema.name);
        }
        schema.schemas.push((T::name().into_owned(), T::schema()));
        T::schemas(&mut schema.schemas);
        schema
    }

    /// A JSON Schema reference to it.
    pub(super) fn reference(&self) -> Value {
        json!({ "$ref": format!("#/components/schemas/{}", self.name) })
    }

    /// Adds it and the schemas it refers to.
    pub(super) fn collect(&self, all: &mut Map<String, Value>) {
        for (name, schema) in &self.schemas {
            let schema = serde_json::to_value(schema).unwrap_or_default();
            all.entry(name.clone()).or_insert(schema);
        }
    }

    /// The schema itself, for use as query parameters.
    pub(super) fn schema(&self) -> Value {
        let own = self.schemas.first().map(|(_, schema)| schema);
        serde_json::to_value(own).unwrap_or_default()
    }
}
