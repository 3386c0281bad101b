/** The port of a filter: a mirrored pair that changes the bytes on their way. */

import type { FileHandle } from 'node:fs/promises';
import type { Transform } from 'node:stream';
import type { HoldfastError } from '../core/errors.ts';
import type { FilterSpec } from '../core/manifest.ts';
import type { Secret } from '../core/secret.ts';
import type { DataChild, Outlet } from '../process/stream.ts';

/** What a filter is while it runs: a child between two pipes, or a stream in this process. */
export type Stage =
  | {
      readonly kind: 'child';
      readonly child: DataChild;
      /** The kernel brings its bytes: the program before it writes into it by itself. */
      readonly isFed?: true;
      /** What the program means by its words, where it failed by itself; `null`: nothing. */
      readonly explain?: (words: string) => HoldfastError | null;
    }
  | { readonly kind: 'stream'; readonly stream: Transform };

/** Where private keys come from. One object for a run: nobody is asked twice. */
export interface KeySources {
  /** A file with identities of age; `null`: none was given. */
  readonly identityFile: string | null;
  /** The folder of gpg's keyring; `null`: its own. */
  readonly gpgHome: string | null;
  /** Asks a person for an identity of age, for one of these recipients; `null`: nobody is there. */
  readonly askIdentity?: ((recipients: readonly string[]) => Promise<Secret | null>) | undefined;
}

/** What a filter may use while it runs. */
export interface FilterContext {
  readonly environment: Readonly<Record<string, string>>;
  /** How many threads a filter may use. */
  readonly threads: number;
  /** Ends what the filter started. */
  readonly signal: AbortSignal;
  /** A folder for what has to have a name for a moment; without it bytes go a slower way. */
  readonly temporaryDir?: string | undefined;
  /** Without it nothing can be decrypted, and gpg takes its own keyring. */
  readonly keys?: KeySources | undefined;
  /** Where a program writes to itself; a stream in this process leaves that to the pipeline. */
  readonly output?: FileHandle | undefined;
  /** Where a program writes to in place of its stage's stream; it is closed here then. */
  readonly into?: Outlet | undefined;
}

/**
 * A filter. `backward` undoes what `forward` did, whatever the two ran in: bytes compressed by the
 * program can be read by Node and the other way round (test/contract/filter.ts holds every filter
 * against that).
 */
export interface Filter {
  /** How the manifest names it, with all that `backward` needs to know. */
  readonly spec: FilterSpec;
  /** What it adds to a file's name, with the dot. */
  readonly extension: string;
  forward(context: FilterContext): Promise<Stage>;
  backward(context: FilterContext): Promise<Stage>;
}
