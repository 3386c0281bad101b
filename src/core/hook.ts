/** What a hook is told: a JSON document on its standard input, and the same in variables. Pure. */

import { type Static, Type } from './type_builder.ts';

/** When a hook runs. Each is a setting of the same name. */
export const hookNames = [
  'before_backup',
  'after_backup',
  'before_restore',
  'after_restore',
  'on_failure',
] as const;
export type HookName = (typeof hookNames)[number];

/** The version of the document. */
const hookFormat = 1;

const closed = { additionalProperties: false } as const;
const Text = Type.String({ minLength: 1 });
const NullableText = Type.Union([Text, Type.Null()]);

/** The schema of the document, as docs/schemas/hook.schema.json publishes it. */
const hookSchema = Type.Object(
  {
    format: Type.Literal(hookFormat),
    source: Type.Literal('holdfast'),
    hook: Type.Union([
      Type.Literal('before_backup'),
      Type.Literal('after_backup'),
      Type.Literal('before_restore'),
      Type.Literal('after_restore'),
      Type.Literal('on_failure'),
    ]),
    /** What is done: `backup` of a database, `incremental` of a cluster, `restore`, `recovery`. */
    event: Type.Union([
      Type.Literal('backup'),
      Type.Literal('incremental'),
      Type.Literal('restore'),
      Type.Literal('recovery'),
    ]),
    /** How far it is: it begins, it is done, or it has failed. */
    status: Type.Union([
      Type.Literal('starting'),
      Type.Literal('succeeded'),
      Type.Literal('failed'),
    ]),
    /** Of a restore that which is written. `null`: a whole cluster. */
    database: NullableText,
    cluster: NullableText,
    /** As it was named, `db.example.com:5432`. */
    server: NullableText,
    /** Of the backup that was taken or is restored. */
    label: NullableText,
    error: Type.Union([
      Type.Object(
        {
          code: Text,
          message: Text,
          hint: NullableText,
          exit_status: Type.Integer({ minimum: 1, maximum: 255 }),
        },
        closed,
      ),
      Type.Null(),
    ]),
    /** BACKUP_DIR. */
    repository: Text,
    host: Text,
    /** The same in every line of the run's log. */
    run_id: Text,
    /** ISO 8601, UTC. */
    timestamp: Text,
    /** What else is known, by names of its own. */
    facts: Type.Record(
      Type.String(),
      Type.Union([Type.String(), Type.Number(), Type.Boolean(), Type.Null()]),
    ),
  },
  closed,
);

/** What a hook is told. */
export type HookDocument = Static<typeof hookSchema>;

/** The text of docs/schemas/hook.schema.json: the same schema as JSON Schema (draft 7). */
export function hookSchemaText(): string {
  const dialect = { $schema: 'http://json-schema.org/draft-07/schema#' };
  return `${JSON.stringify({ ...dialect, ...hookSchema }, null, 2)}\n`;
}

/** A variable may hold 128 KiB (execve(2)), all together no more than the stack allows. */
const variableCharactersMax = 4_000;

function variable(value: string | number | null): string {
  if (value === null) return '';
  // No variable holds a NUL; a text that ends in half a character is none.
  const text = String(value).replaceAll('\0', ' ');
  return text.length > variableCharactersMax
    ? text.slice(0, variableCharactersMax).toWellFormed()
    : text;
}

/**
 * The variables of a hook. All of them are always set, so that `set -u` of a shell holds; what is
 * not known is empty.
 */
export function hookVariables(document: HookDocument): Record<string, string> {
  const { hook, event, status, database, cluster, server, label, error } = document;
  const values = {
    HOLDFAST_HOOK: hook,
    HOLDFAST_EVENT: event,
    HOLDFAST_STATUS: status,
    HOLDFAST_DATABASE: database,
    HOLDFAST_CLUSTER: cluster,
    HOLDFAST_SERVER: server,
    HOLDFAST_LABEL: label,
    HOLDFAST_ERROR: error?.message ?? null,
    HOLDFAST_ERROR_CODE: error?.code ?? null,
    HOLDFAST_EXIT_STATUS: error?.exit_status ?? (status === 'succeeded' ? 0 : null),
    HOLDFAST_REPOSITORY: document.repository,
    HOLDFAST_HOST: document.host,
    HOLDFAST_RUN_ID: document.run_id,
    HOLDFAST_TIMESTAMP: document.timestamp,
  };
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, variable(value)]));
}
