/** An alert: one JSON document for whoever listens (PRODUCT.md, "Alerts"). Pure. */

import { type Static, Type } from './type_builder.ts';
import { documentReader } from './validate.ts';

/** From what is good to know to what gets somebody out of bed. */
export const priorities = ['info', 'medium', 'high', 'critical'] as const;
export type Priority = (typeof priorities)[number];

/** The version of the document. */
export const alertFormat = 1;

const closed = { additionalProperties: false } as const;
const Text = Type.String({ minLength: 1 });
const NullableText = Type.Union([Text, Type.Null()]);

/** The schema of an alert, as docs/schemas/alert.schema.json publishes it. */
export const alertSchema = Type.Object(
  {
    format: Type.Literal(alertFormat),
    source: Type.Literal('holdfast'),
    /** One for each alert that is sent, the same in every channel and every try. */
    id: Text,
    /** What it is about: `backup`, `restore`, `check.archiver`, `test`. */
    event: Text,
    priority: Type.Union([
      Type.Literal('info'),
      Type.Literal('medium'),
      Type.Literal('high'),
      Type.Literal('critical'),
    ]),
    status: Type.Union([Type.Literal('firing'), Type.Literal('resolved')]),
    /** One line for a subject or a telephone. */
    title: Text,
    /** What was expected, what is, since when, what to do. */
    message: Text,
    cluster: NullableText,
    database: NullableText,
    host: Text,
    /** When it was made: ISO 8601, UTC. */
    timestamp: Text,
    /** Equal for the same trouble, from its first alert to `resolved`. */
    key: Text,
    /** What else is known, by names of its own. */
    details: Type.Record(
      Type.String(),
      Type.Union([Type.String(), Type.Number(), Type.Boolean(), Type.Null()]),
    ),
  },
  closed,
);

/** An alert as it is sent and as it is kept until it was. */
export type Alert = Static<typeof alertSchema>;

/**
 * Reads an alert that was kept.
 *
 * @throws HoldfastError DAMAGED
 */
export const parseAlert = documentReader(alertSchema, {
  name: 'an alert',
  format: alertFormat,
  code: 'DAMAGED',
});

/** Whether a channel that wants at least one priority gets an alert of another. */
export function reaches(priority: Priority, least: Priority): boolean {
  return priorities.indexOf(priority) >= priorities.indexOf(least);
}

/** The text of docs/schemas/alert.schema.json: the same schema as JSON Schema (draft 7). */
export function alertSchemaText(): string {
  const dialect = { $schema: 'http://json-schema.org/draft-07/schema#' };
  return `${JSON.stringify({ ...dialect, ...alertSchema }, null, 2)}\n`;
}
