/** What a setting is: one row in the tables of schema.ts and connection_settings.ts. */

import type { Secret } from '../core/secret.ts';
import type { XStatic } from '../core/type_builder.ts';

/** The JSON Schema of one value: what Ajv checks and what the type is inferred from. */
export type ValueSchema =
  | {
      readonly type: 'string';
      readonly minLength?: number;
      readonly enum?: readonly string[];
      readonly pattern?: string;
    }
  | { readonly type: 'integer'; readonly minimum: number; readonly maximum: number }
  | { readonly type: 'number'; readonly minimum: number; readonly maximum: number }
  | { readonly type: 'boolean' };

/** What a default may depend on. */
export interface DefaultContext {
  /** The checkout: the folder of package.json. */
  readonly projectDir: string;
  /** Processors that this process may use. */
  readonly cores: number;
  /** The operating system's folder for temporary files. */
  readonly temporaryDir: string;
  /** The settings that stand before this one in the table. */
  readonly before: Readonly<Record<string, unknown>>;
}

/** One setting, with everything that is said about it anywhere. */
export interface Setting {
  readonly schema: ValueSchema;
  /** The environment variables that set it; the first is the canonical one, the others aliases. */
  readonly env: readonly string[];
  /** The long flag without its dashes; only settings that change from run to run have one. */
  readonly flag?: string;
  /** A value, a function of the surroundings, or `null`: not set. */
  readonly default: string | number | boolean | null | ((context: DefaultContext) => unknown);
  /** How the default is told where it is a function or where `null` means something. */
  readonly defaultText?: string;
  /** One or two sentences for help, the sample file and the table. */
  readonly description: string;
  readonly example: string | number | boolean;
  /** What is allowed, in words, where the schema does not say it well. */
  readonly allowed?: string;
  /** The value is a `Secret`: never printed. */
  readonly secret?: true;
  /** A file or folder: relative to the file that sets it, or to the current folder. */
  readonly path?: true;
  /** A path that may also be one of these words. */
  readonly pathWords?: readonly string[];
}

type Unset<D> = D extends null ? null : never;

/** The type of a setting's value. */
export type ValueOf<S extends Setting> =
  | (S extends { readonly secret: true } ? Secret : XStatic<S['schema']>)
  | Unset<S['default']>;

/** The type of the values of a table of settings. */
export type ValuesOf<T extends Readonly<Record<string, Setting>>> = {
  readonly [K in keyof T]: ValueOf<T[K]>;
};
