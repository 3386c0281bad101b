/** Documents against their schemas: Ajv, compiled when the first document comes. */

import { Ajv, type ValidateFunction } from 'ajv';
import { type ErrorCode, HoldfastError } from './errors.ts';
import type { Static, TSchema } from './type_builder.ts';

/**
 * Our schemas come out of a builder that a test holds against TypeBox, and strict mode refuses
 * words that it does not know: they are not held against JSON Schema's own at every start, which
 * took half of the time (measured).
 */
const trusted = { meta: false, validateSchema: false } as const;

/**
 * Makes a check that tells what is wrong with a value, or `null` when it fits the schema.
 * Compiling costs some ten milliseconds, so it is done with the first value and only once.
 */
function lazyCheck(schema: TSchema): (value: unknown) => string | null {
  let validate: ValidateFunction | null = null;
  return (value) => {
    validate ??= new Ajv({ strict: true, allowUnionTypes: true, ...trusted }).compile(schema);
    if (validate(value)) return null;
    const [error] = validate.errors ?? [];
    const place = error?.instancePath === '' ? 'the document' : error?.instancePath;
    const extra = error?.params.additionalProperty;
    const name = extra === undefined ? '' : ` (${JSON.stringify(extra)})`;
    return `${place} ${error?.message ?? 'does not fit the schema'}${name}`;
  };
}

/** Text of a document: strict UTF-8 without a byte order mark, then JSON. */
function parseJson(bytes: Uint8Array): unknown {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  return JSON.parse(decoder.decode(bytes));
}

/** The format number of a document, where it has one. */
function formatOf(value: unknown): number | null {
  if (typeof value !== 'object' || value === null || !('format' in value)) return null;
  return typeof value.format === 'number' ? value.format : null;
}

/** What the reader of a kind of document has to know besides its schema. */
export interface DocumentKind {
  /** For messages: "the manifest". */
  readonly name: string;
  /** The newest format that this version knows. */
  readonly format: number;
  /** The code of the error for a document that is not valid. */
  readonly code: ErrorCode;
}

/**
 * Makes the reader of a kind of document with a `format` in it.
 *
 * @returns a function that gives the document, or throws a HoldfastError of the kind's code: the
 *   bytes are no JSON, the format is a newer one, the document does not fit the schema
 */
export function documentReader<Schema extends TSchema>(
  schema: Schema,
  kind: DocumentKind,
): (bytes: Uint8Array) => Static<Schema> {
  const check = lazyCheck(schema);
  return (bytes) => {
    let value: unknown;
    try {
      value = parseJson(bytes);
    } catch (cause) {
      const text = `${kind.name} is not valid JSON: ${(cause as Error).message}`;
      throw new HoldfastError(kind.code, text, { cause });
    }
    const format = formatOf(value);
    if (format !== null && format > kind.format) {
      const text = `${kind.name} has the format ${format}; this version knows up to ${kind.format}`;
      throw new HoldfastError(kind.code, text, {
        hint: 'Use the newer version of Holdfast that wrote it.',
      });
    }
    const problem = check(value);
    if (problem !== null) {
      throw new HoldfastError(kind.code, `${kind.name} is not valid: ${problem}`);
    }
    return value as Static<Schema>;
  };
}

/** The bytes of a document: the same value always gives the same bytes. */
export function documentBytes(value: unknown): Uint8Array {
  return Buffer.from(`${JSON.stringify(value, null, 2)}\n`, 'utf8');
}
