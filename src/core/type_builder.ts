/**
 * The part of TypeBox's builder that our schemas are made with: its types, and the same JSON Schema
 * out of some lines. Loading TypeBox itself took 80 ms, more than most commands do otherwise
 * (measured); `test/unit/core/type_builder.test.ts` holds the two against each other.
 */

import type { Type as TypeBox } from 'typebox';

export type { Static, TSchema } from 'typebox';
export type { XStatic } from 'typebox/schema';

type Parts =
  | 'Array'
  | 'Boolean'
  | 'Integer'
  | 'Literal'
  | 'Null'
  | 'Number'
  | 'Object'
  | 'Optional'
  | 'Record'
  | 'String'
  | 'Tuple'
  | 'Union';

type Json = Record<string, unknown>;

/** What a record's key matches where nothing is said of it. */
const anyKey = '^.*$';

const optional = new WeakSet<Json>();

function plain(type: string) {
  return (options: Json = {}): Json => ({ type, ...options });
}

function object(properties: Record<string, Json>, options: Json = {}): Json {
  const names = Object.entries(properties).flatMap(([name, schema]) =>
    optional.has(schema) ? [] : [name],
  );
  const required = names.length === 0 ? {} : { required: names };
  return { type: 'object', ...required, properties, ...options };
}

function asOptional(schema: Json): Json {
  const copy = { ...schema };
  optional.add(copy);
  return copy;
}

function tuple(items: readonly Json[], options: Json = {}): Json {
  return { type: 'array', additionalItems: false, items, minItems: items.length, ...options };
}

/** TypeBox's builder: `Static` tells the type of what fits a schema. */
export const Type = {
  Array: (items: Json, options: Json = {}) => ({ type: 'array', items, ...options }),
  Boolean: plain('boolean'),
  Integer: plain('integer'),
  Literal: (value: string | number | boolean, options: Json = {}) => ({
    type: typeof value,
    const: value,
    ...options,
  }),
  Null: plain('null'),
  Number: plain('number'),
  Object: object,
  Optional: asOptional,
  Record: (key: Json, value: Json, options: Json = {}) => ({
    type: 'object',
    patternProperties: { [String(key.pattern ?? anyKey)]: value },
    ...options,
  }),
  String: plain('string'),
  Tuple: tuple,
  Union: (schemas: readonly Json[], options: Json = {}) => ({ anyOf: schemas, ...options }),
} as unknown as Pick<typeof TypeBox, Parts>;
