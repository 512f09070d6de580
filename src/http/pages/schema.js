// Renders JSON schemas; nested schemas are expanded on demand. Also generates examples.

import { h } from "./dom.js";
import { inline } from "./markdown.js";

/** Renders the schemas of one document. */
export class Schemas {
  #all;

  constructor(document) {
    this.#all = document.components?.schemas ?? {};
  }

  #resolve(schema) {
    const name = schema?.$ref?.split("/").at(-1);
    return name ? { name, ...this.#all[name], ...(schema.description && { description: schema.description }) } : { ...schema };
  }

  /** Resolves references and "this or null". */
  #plain(schema) {
    const choices = schema?.oneOf ?? schema?.anyOf;
    const nonNull = choices?.filter((choice) => choice.type !== "null") ?? [];
    if (nonNull.length === 1) {
      const single = this.#resolve(nonNull[0]);
      return { ...single, description: schema.description ?? single.description, isNullable: choices.length > 1 };
    }
    const plain = this.#resolve(schema);
    if (!Array.isArray(plain.type)) return plain;
    return { ...plain, type: plain.type.filter((t) => t !== "null").join(" or "), isNullable: plain.type.includes("null") };
  }

  /** Name of a type: `string`, `list of Member`, `Kind or null`. */
  typeName(schema) {
    const plain = this.#plain(schema);
    const suffix = plain.isNullable ? " or null" : "";
    if (plain.type === "array") return `list of ${this.typeName(plain.items ?? {})}${suffix}`;
    if (plain.const !== undefined) return JSON.stringify(plain.const);
    if (plain.oneOf) return plain.oneOf.map((one) => this.typeName(one)).join(" or ");
    if (plain.additionalProperties?.type) return `map of ${this.typeName(plain.additionalProperties)}${suffix}`;
    return `${plain.name ?? plain.type ?? "anything"}${suffix}`;
  }

  #limits({ format, minimum, maximum, minLength, maxLength, pattern, enum: values }) {
    const isInteger = format === "int32" || format === "int64";
    const parts = [];
    if (format && !isInteger) parts.push(format);
    if (minimum !== undefined && maximum !== undefined) parts.push(`${minimum} to ${maximum}`);
    else if (minimum !== undefined) parts.push(`${minimum} or more`);
    else if (maximum !== undefined) parts.push(`at most ${maximum}`);
    if (minLength !== undefined && maxLength !== undefined) parts.push(`${minLength} to ${maxLength} characters`);
    else if (minLength > 1) parts.push(`at least ${minLength} characters`);
    else if (maxLength !== undefined) parts.push(`at most ${maxLength} characters`);
    if (pattern) parts.push(pattern);
    if (values) parts.push(values.map((value) => JSON.stringify(value)).join(", "));
    return parts.join("; ");
  }

  /** One field: name, type, limits, description; nested fields can be expanded. */
  field(name, schema, isRequired, seen = []) {
    const plain = this.#plain(schema);
    const inner = this.#inner(schema);
    const limits = this.#limits(plain);
    const head = [
      h("code", { class: "name" }, name),
      h("span", { class: "type" }, ` ${this.typeName(schema)}`),
      isRequired === undefined ? null : h("span", { class: isRequired ? "must" : "may" }, isRequired ? " · required" : " · optional"),
      limits ? h("span", { class: "type" }, ` · ${limits}`) : null,
    ];
    const description = plain.description ? h("div", { class: "words" }, inline(plain.description)) : null;
    if (!inner?.properties || seen.includes(inner.name)) return h("li", {}, h("div", {}, head), description);
    const fields = () => this.fields(inner, [...seen, inner.name]);
    return h("li", {}, lazyDetails(h("summary", {}, head), fields), description);
  }

  /** Schema of the items of a list or map, or the schema itself. */
  #inner(schema) {
    const plain = this.#plain(schema);
    if (plain.type === "array") return this.#inner(plain.items ?? {});
    if (plain.additionalProperties?.$ref) return this.#inner(plain.additionalProperties);
    return plain;
  }

  fields(schema, seen = []) {
    const plain = this.#inner(schema);
    if (!plain.properties) return h("ul", { class: "fields" }, this.field("value", schema, undefined, seen));
    const required = new Set(plain.required);
    const entries = Object.entries(plain.properties);
    return h("ul", { class: "fields" }, entries.map(([name, inner]) => this.field(name, inner, required.has(name), seen)));
  }

  /** A whole body: type, description, fields, example. */
  body(schema) {
    const plain = this.#plain(schema);
    const example = JSON.stringify(this.example(schema), null, 2);
    return h("div", {},
      h("p", { class: "shape" }, h("strong", {}, this.typeName(schema)), plain.description ? [" — ", inline(plain.description)] : null),
      this.fields(schema, [plain.name]),
      h("details", { class: "example" }, h("summary", {}, "Example"), h("pre", { tabindex: "0" }, h("code", {}, example))));
  }

  example(schema, name = "", seen = []) {
    const plain = this.#plain(schema);
    if (plain.example !== undefined) return plain.example;
    if (plain.const !== undefined) return plain.const;
    if (plain.enum) return plain.enum[0];
    if (seen.includes(plain.name)) return null;
    const seenInside = plain.name ? [...seen, plain.name] : seen;
    if (plain.type === "array") return [this.example(plain.items ?? {}, name, seenInside)];
    if (plain.properties) {
      return Object.fromEntries(Object.entries(plain.properties).map(([key, value]) => [key, this.example(value, key, seenInside)]));
    }
    if (plain.type === "object" && plain.additionalProperties) return { "…": this.example(plain.additionalProperties, "", seenInside) };
    if (plain.oneOf) return this.example(plain.oneOf[0], name, seenInside);
    if (plain.format === "date-time") return "2026-01-31T12:00:00Z";
    if (plain.type === "string") return "…";
    if (plain.type === "integer" || plain.type === "number") return Math.max(plain.minimum ?? 0, 1);
    if (plain.type === "boolean") return false;
    return plain.type === "object" ? {} : null;
  }
}

/** Builds the content when it is first opened: schemas may be recursive. */
function lazyDetails(summary, make) {
  const details = h("details", {}, summary);
  details.addEventListener("toggle", () => details.open && details.children.length === 1 && details.append(make()));
  return details;
}
