/** From what was written (text, YAML) to a setting's checked value. */

import { resolve } from 'node:path';
import type { Ajv, ValidateFunction } from 'ajv';
import { HoldfastError } from '../core/errors.ts';
import { Secret } from '../core/secret.ts';
import type { Setting, ValueSchema } from './setting.ts';
import type { Source } from './source.ts';

/** A value as it was written, and where. */
export interface RawValue {
  readonly raw: unknown;
  readonly source: Source;
  /** What a relative path is relative to. */
  readonly baseDir: string;
}

/** `environment variable PGPORT`, `/x/.env line 3 (PGPORT)`, `flag --jobs`. */
function describeSource(source: Source): string {
  if (source.origin === 'flag') return `flag ${source.name}`;
  if (source.origin === 'environment') return `environment variable ${source.name}`;
  const line = source.line === undefined ? '' : ` line ${source.line}`;
  return source.file === undefined ? source.name : `${source.file}${line} (${source.name})`;
}

/** What a setting without a narrower schema takes. */
export const freeText = 'a text that is not empty';

/** What a setting takes, in words: `one of zstd, gzip, none`. */
export function describeAllowed(setting: Setting): string {
  if (setting.allowed !== undefined) return setting.allowed;
  const { schema } = setting;
  switch (schema.type) {
    case 'string':
      return schema.enum === undefined ? freeText : `one of ${schema.enum.join(', ')}`;
    case 'boolean':
      return 'true or false';
    default: {
      const kind = schema.type === 'integer' ? 'a whole number' : 'a number';
      return `${kind} from ${schema.minimum} to ${schema.maximum}`;
    }
  }
}

/** @throws HoldfastError CONFIG_INVALID: the place, the value (never a secret), what is allowed */
export function refuseValue(setting: Setting, value: RawValue, fact?: string): never {
  const shown = setting.secret === true ? 'the value' : JSON.stringify(value.raw);
  const allowed = describeAllowed(setting);
  throw new HoldfastError(
    'CONFIG_INVALID',
    `${describeSource(value.source)}: ${fact ?? `${shown} is not ${allowed}`}`,
    { hint: `Write for example ${setting.example}, or leave it out for the default.` },
  );
}

/** Text and YAML scalars take the type that the schema asks for; anything else stays as it is. */
function convert(schema: ValueSchema, raw: unknown): unknown {
  if (schema.type === 'string') return typeof raw === 'number' ? String(raw) : raw;
  if (typeof raw !== 'string') return raw;
  const text = raw.trim();
  if (schema.type === 'boolean') {
    if (/^(?:true|yes|on|1)$/i.test(text)) return true;
    return /^(?:false|no|off|0)$/i.test(text) ? false : raw;
  }
  const pattern = schema.type === 'integer' ? /^[+-]?\d{1,15}$/ : /^[+-]?\d{1,15}(?:\.\d+)?$/;
  return pattern.test(text) ? Number(text) : raw;
}

/** Checks values against their schemas; Ajv is loaded when the first value is there to check. */
export class ValueReader {
  readonly #validators = new Map<ValueSchema, ValidateFunction>();
  readonly #home: string;
  #ajv: Ajv | undefined;

  /** @param home what `~/` stands for */
  constructor(home: string) {
    this.#home = home;
  }

  async #validator(schema: ValueSchema): Promise<ValidateFunction> {
    const known = this.#validators.get(schema);
    if (known !== undefined) return known;
    if (this.#ajv === undefined) {
      const { Ajv } = await import('ajv');
      // Strict mode is enough for schemas of ours: see core/validate.ts.
      this.#ajv = new Ajv({ strict: true, meta: false, validateSchema: false });
    }
    const validator = this.#ajv.compile(schema);
    this.#validators.set(schema, validator);
    return validator;
  }

  #absolute(setting: Setting, text: string, baseDir: string): string {
    if (setting.pathWords?.includes(text) === true) return text;
    return resolve(baseDir, text.startsWith('~/') ? `${this.#home}${text.slice(1)}` : text);
  }

  /** @throws HoldfastError CONFIG_INVALID */
  async read(setting: Setting, value: RawValue): Promise<unknown> {
    const converted = convert(setting.schema, value.raw);
    const validate = await this.#validator(setting.schema);
    if (!validate(converted)) refuseValue(setting, value);
    if (typeof converted !== 'string') return converted;
    if (converted.includes('\0')) refuseValue(setting, value, 'the value holds a NUL character');
    if (setting.secret === true) return new Secret(converted);
    return setting.path === true ? this.#absolute(setting, converted, value.baseDir) : converted;
  }
}
