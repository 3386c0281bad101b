/** What every operation is given: nothing in `operations/` reaches for the world by itself. */

import type { Catalog } from '../catalog/catalog.ts';
import type { Repository } from '../catalog/repository.ts';
import type { Config } from '../config/load.ts';
import { localName } from '../config/stores.ts';
import { HoldfastError } from '../core/errors.ts';
import type { KeySources } from '../pipeline/filter.ts';
import type { FlowContext } from '../pipeline/flow.ts';
import type { Log } from '../process/console.ts';

/** The world of one run: settings, log, clock, dice, signal. */
export interface Context {
  readonly config: Config;
  readonly log: Log;
  /** One for each run of a command. */
  readonly runId: string;
  /** The time of day. */
  readonly clock: () => Date;
  /** Seconds from some moment on, for durations: it never jumps. */
  readonly stopwatch: () => number;
  readonly randomBytes: (count: number) => Uint8Array;
  /** Ends the run; its reason is the error to end with. */
  readonly signal: AbortSignal;
  /** The base of the environment of children. */
  readonly environment: Readonly<Record<string, string>>;
  /** The name of this host. */
  readonly host: string;
  /** Of this process. */
  readonly pid: number;
  readonly toolVersion: string;
  /** Where private keys come from; without it from the files that the settings name. */
  readonly keys?: KeySources | undefined;
}

/** A context with a repository behind it. */
export interface RepositoryContext extends Context {
  readonly repository: Repository;
  readonly catalog: Catalog;
}

/**
 * The context of one of several databases that are worked on at once: with a log of its own, and
 * with its part of the threads. All together have the threads of the setting, but each has one.
 *
 * @param parallel how many are worked on at once
 */
export function shareContext(
  context: RepositoryContext,
  log: Log,
  parallel: number,
): RepositoryContext {
  const { config } = context;
  const threads = Math.max(1, Math.floor(config.settings.threads / parallel));
  return { ...context, log, config: { ...config, settings: { ...config.settings, threads } } };
}

/** One for the settings of a run, so that a passphrase is asked for once. */
const keysOfSettings = new WeakMap<object, KeySources>();

function settingsKeys({ config: { settings } }: Context): KeySources {
  const known = keysOfSettings.get(settings);
  if (known !== undefined) return known;
  const { age_identity_file: identityFile, gpg_home: gpgHome } = settings;
  const keys = { identityFile, gpgHome };
  keysOfSettings.set(settings, keys);
  return keys;
}

/**
 * The context of a run that writes into BACKUP_DIR alone.
 *
 * @throws HoldfastError USAGE where no backups are kept there
 */
export function withoutUploads(context: RepositoryContext): RepositoryContext {
  const { repository } = context;
  const [first] = repository.stores;
  if (first.spec.name === localName) {
    return { ...context, repository: { ...repository, stores: [first] } };
  }
  throw new HoldfastError('USAGE', '--no-upload: no backups are kept in BACKUP_DIR', {
    hint: 'Leave the flag out, or set LOCAL_COPY=true.',
  });
}

/** What the pipeline needs of a context. */
export function flowContext(context: Context, signal: AbortSignal = context.signal): FlowContext {
  return {
    environment: context.environment,
    threads: context.config.settings.threads,
    temporaryDir: context.config.settings.temp_dir,
    keys: context.keys ?? settingsKeys(context),
    signal,
  };
}
