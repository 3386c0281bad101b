/** Streams the two files of a logical backup that PostgreSQL's programs make into their folder. */

import { HoldfastError } from '../../core/errors.ts';
import type { ManifestFile } from '../../core/manifest.ts';
import type { Filter } from '../../pipeline/filter.ts';
import type { FlowContext } from '../../pipeline/flow.ts';
import { createByteCounter, type Observer } from '../../pipeline/measure.ts';
import { store } from '../../pipeline/pipeline.ts';
import { type ArchiveReading, createArchiveReader } from '../../postgres/archive.ts';
import { type ConnectionParameters, programEnvironment } from '../../postgres/connection.ts';
import { copyTextVariables } from '../../postgres/copy_text.ts';
import {
  dumpArguments,
  globalsArguments,
  isPasswordPrivilegeError,
  programWarnings,
} from '../../postgres/dump.ts';
import { describeDumpFailure } from '../../postgres/dump_failure.ts';
import { type DataChild, startChild } from '../../process/stream.ts';
import type { FolderWriter } from '../../storage/storage.ts';
import { type Context, flowContext } from '../context.ts';

/** Both programs, of one version, and the connection they use. */
export interface DumpInput {
  readonly context: Context;
  readonly signal: AbortSignal;
  readonly parameters: ConnectionParameters;
  readonly folder: FolderWriter;
  readonly filters: readonly Filter[];
}

/** A file that was written, as the manifest lists it. */
export interface WrittenFile {
  readonly file: ManifestFile;
  /** What the program warned of. */
  readonly notices: readonly string[];
}

/** `database.dump` with the filters' extensions: `database.dump.zst`. */
function storedName(name: string, filters: readonly Filter[]): string {
  return [name, ...filters.map((filter) => filter.extension)].join('');
}

/** One of PostgreSQL's programs, how it is run, and which file of the backup it makes. */
interface ProgramRun {
  readonly program: 'pg_dump' | 'pg_dumpall';
  readonly path: string;
  readonly args: readonly string[];
  readonly name: string;
  readonly role: ManifestFile['role'];
  /** See the plain bytes; `null` where nobody wants to know them. */
  readonly observers: readonly Observer[] | null;
  readonly storedObservers?: readonly Observer[];
  /** Some kilobytes: to make a pipe for them would cost more than it saves. */
  readonly isSmall?: true;
}

function withoutPipe(flow: FlowContext): FlowContext {
  return { ...flow, temporaryDir: undefined };
}

/** What a program wrote, or why it failed; in both cases with what it said. */
type ProgramOutcome =
  | { readonly file: ManifestFile; readonly stderr: string }
  | { readonly error: unknown; readonly stderr: string };

/** Streams a program's output into the backup's folder, through the filters. */
async function streamProgram(input: DumpInput, run: ProgramRun): Promise<ProgramOutcome> {
  const { context, signal, parameters, folder, filters } = input;
  const name = storedName(run.name, filters);
  const flow = flowContext(context, signal);
  const started: DataChild[] = [];
  try {
    const measured = await store({
      source: (into) => {
        // The connection is in the environment: nothing of it is in argv.
        const connection = programEnvironment(parameters, context.environment);
        const environment = { ...connection, ...copyTextVariables };
        const child = startChild(run.path, run.args, { environment, signal, into });
        child.stdin.end();
        started.push(child);
        return child;
      },
      filters,
      observers: run.observers ?? [],
      plainUnseen: run.observers === null,
      storedObservers: run.storedObservers ?? [],
      sinks: [(body) => folder.put(name, body)],
      context: run.isSmall === true ? withoutPipe(flow) : flow,
    });
    const specs = filters.map((filter) => filter.spec);
    const file = { name, role: run.role, filters: specs, ...measured };
    return { file, stderr: started[0]?.stderrTail() ?? '' };
  } catch (error) {
    const [child] = started;
    const told = child === undefined ? error : await dumpError(error, run, child, input);
    return { error: told, stderr: child?.stderrTail() ?? '' };
  }
}

/** The program's own words where it is the program that failed; else the error as it is. */
async function dumpError(
  error: unknown,
  { program }: ProgramRun,
  child: DataChild,
  input: DumpInput,
): Promise<unknown> {
  if (input.signal.aborted) return error;
  if (!(error instanceof HoldfastError) || error.code !== 'CHILD_FAILED') return error;
  const exit = await child.exited;
  if (exit.status === 0 || !error.message.startsWith(child.program)) return error;
  const { dbname: database, user: role } = input.parameters;
  return describeDumpFailure({ program, stderr: child.stderrTail(), ...exit, database, role });
}

/** The dump that was written, and what its own stream told of the tables in it. */
export interface WrittenDump extends WrittenFile {
  /** `null` where nobody wanted to know. */
  readonly reading: ArchiveReading | null;
}

/**
 * Runs pg_dump into `database.dump`, through the filters, as one stream. The rows of each table
 * are counted and digested as they pass; no second scan is made. Without digests the bytes go from
 * pg_dump straight into the compressor, where that is a program.
 *
 * @param snapshot what `pg_export_snapshot()` gave
 * @param wish whether to look at the plain bytes, and who is told how many have passed: plain ones
 *   if so, else stored ones
 * @throws HoldfastError with pg_dump's own words
 */
export async function writeDump(
  input: DumpInput,
  pgDump: string,
  snapshot: string,
  wish: { readonly digests: boolean; readonly onBytes: (bytes: number) => void },
): Promise<WrittenDump> {
  const archive = wish.digests ? createArchiveReader() : null;
  const counter = createByteCounter(wish.onBytes);
  const outcome = await streamProgram(input, {
    program: 'pg_dump',
    path: pgDump,
    args: dumpArguments({ snapshot }),
    name: 'database.dump',
    role: 'dump',
    observers: archive === null ? null : [archive, counter],
    storedObservers: archive === null ? [counter] : [],
  });
  if ('error' in outcome) throw outcome.error;
  const { file, stderr } = outcome;
  return { file, notices: programWarnings(stderr), reading: archive?.finish() ?? null };
}

/** The roles and tablespaces that were written. */
export interface WrittenGlobals extends WrittenFile {
  /** The role may not read the passwords, so they are not in the file. */
  readonly withoutPasswords: boolean;
}

/**
 * Runs `pg_dumpall --globals-only` into `globals.sql`. Where the role may not read the passwords
 * the roles are written without them, which the caller tells as a warning.
 *
 * @throws HoldfastError with pg_dumpall's own words
 */
export async function writeGlobals(
  input: DumpInput,
  pgDumpall: string,
  withoutPasswords = false,
): Promise<WrittenGlobals> {
  const { dbname: database } = input.parameters;
  const outcome = await streamProgram(input, {
    program: 'pg_dumpall',
    path: pgDumpall,
    args: globalsArguments({ database, noRolePasswords: withoutPasswords }),
    name: 'globals.sql',
    role: 'globals',
    observers: [],
    isSmall: true,
  });
  const { stderr } = outcome;
  if ('file' in outcome) {
    return { file: outcome.file, notices: programWarnings(stderr), withoutPasswords };
  }
  if (!withoutPasswords && isPasswordPrivilegeError(stderr)) {
    return writeGlobals(input, pgDumpall, true);
  }
  throw outcome.error;
}
