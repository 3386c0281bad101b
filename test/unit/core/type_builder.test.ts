import { Type as typeBox } from 'typebox';
import { describe, expect, it } from 'vitest';
import { Type } from '../../../src/core/type_builder.ts';

type Builder = typeof Type;

const closed = { additionalProperties: false };

/** Everything that the builder has, with options and without. */
const made: Record<keyof Builder, (T: Builder) => unknown[]> = {
  Array: (T) => [T.Array(T.String()), T.Array(T.Array(T.Null()), { minItems: 1 })],
  Boolean: (T) => [T.Boolean(), T.Boolean({ description: 'whether' })],
  Integer: (T) => [T.Integer(), T.Integer({ minimum: 0, maximum: 9 })],
  Literal: (T) => [T.Literal('a'), T.Literal(1), T.Literal(true), T.Literal('', { title: 'x' })],
  Null: (T) => [T.Null()],
  Number: (T) => [T.Number(), T.Number({ exclusiveMinimum: 0 })],
  Object: (T) => [
    T.Object({}),
    T.Object({}, closed),
    T.Object({ b: T.String(), a: T.Optional(T.Integer()), 'odd "name"': T.Null() }, closed),
    T.Object({ only: T.Optional(T.Object({ inner: T.Optional(T.Boolean()) })) }),
  ],
  Optional: (T) => [T.Optional(T.String({ minLength: 1 })), T.Optional(T.Union([T.Null()]))],
  Record: (T) => [
    T.Record(T.String(), T.Number()),
    T.Record(T.String({ pattern: '^[a-z]$' }), T.Object({}), { description: 'x' }),
  ],
  String: (T) => [T.String(), T.String({ pattern: '^a', minLength: 1 })],
  Tuple: (T) => [T.Tuple([T.String(), T.Integer()]), T.Tuple([T.Null()], { title: 'one' })],
  Union: (T) => [T.Union([T.Literal('a'), T.Null()]), T.Union([T.Null()], { title: 'x' })],
};

describe('the builder of schemas', () => {
  it.each(Object.entries(made))('makes with %s what TypeBox makes', (_name, make) => {
    expect(JSON.parse(JSON.stringify(make(Type)))).toEqual(
      JSON.parse(JSON.stringify(make(typeBox))),
    );
  });

  it('leaves a schema as it is that is made optional in one place', () => {
    const shared = Type.String();
    expect(Type.Object({ a: Type.Optional(shared), b: shared })).toMatchObject({ required: ['b'] });
  });
});
