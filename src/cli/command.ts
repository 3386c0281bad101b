/** What a command is, and what it is run with. */

import type { Writable } from 'node:stream';
import type { Argv } from 'yargs';
import type { ExitStatus, HoldfastError } from '../core/errors.ts';
import type { RunEvent, RunOutcome } from '../core/run_outcome.ts';
import type { Context } from '../operations/context.ts';

/** What a command gives back. */
export interface CommandResult {
  readonly status: ExitStatus;
  /** The document for `--json`. */
  readonly json: unknown;
  /** The answer itself, for stdout, where the command is a question (a list, a plan). */
  readonly text?: string;
  /** How each piece of its work ended, for alerts; without it the status tells of all at once. */
  readonly outcomes?: readonly RunOutcome[];
}

/** The flags of a command as yargs gives them, by their long names. */
export type Flags = Readonly<Record<string, unknown>>;

/** The long names of the flags that are settings. */
export type FlagName =
  | 'compression'
  | 'compression-level'
  | 'encrypt'
  | 'identity'
  | 'threads'
  | 'parallel'
  | 'read-back'
  | 'nice'
  | 'max-rate'
  | 'jobs'
  | 'host'
  | 'port'
  | 'username';

/** What a command's `run` is given. */
export interface Invocation {
  readonly context: Context;
  readonly flags: Flags;
  /** The arguments that are no flags. */
  readonly operands: readonly string[];
  readonly world: World;
  /** Why the repository could not be opened, for a command that watches it. */
  readonly problem: HoldfastError | null;
}

/** How a command that sets up a system works where root starts it. */
export interface RootWish {
  /** Root stays at hand for what only root can do (`asRoot` of process/user.ts). */
  readonly keep: boolean;
  /** Who owns a repository that is new; `null`: nobody was named. */
  readonly owner: string | null;
  /** What it starts is handed the files with the settings that the owner may not read. */
  readonly handsOver?: true;
}

/** One command of scripts/. */
export interface Command {
  /** The file's name in scripts/, `backup_full.ts`. */
  readonly name: string;
  /** `[database…]` */
  readonly operands: string;
  readonly summary: string;
  /** The settings that are flags of this command too, by the flags' names. */
  readonly settings: readonly FlagName[];
  /** The command's own flags. */
  readonly options?: (parser: Argv) => Argv;
  /** Pairs of arguments and what they do. */
  readonly examples: readonly (readonly [string, string])[];
  /**
   * Whether the command creates the repository, needs it, or can go without; `look`: it looks at it
   * by itself, tells what the settings warn of, and writes nothing, no log either; `watch`: it is
   * told why there is none, or why it cannot be opened; `plan`: where there is none it works with
   * the one that would be begun, and begins none.
   */
  readonly repository: 'create' | 'need' | 'optional' | 'look' | 'watch' | 'plan';
  /** Whether with these words it begins no repository, whatever it does without them. */
  readonly onlyPlans?: (operands: readonly string[]) => boolean;
  /** A person at the terminal is asked for the private key that is missing. */
  readonly asksIdentity?: true;
  /**
   * The command reads neither the environment nor any file for its settings; these flags stand in
   * their place, and those of the command line beat them.
   */
  readonly ownSettings?: Readonly<Record<string, string>>;
  /** For a command that sets up a system; every other becomes the owner of the repository. */
  readonly root?: (flags: Flags) => RootWish;
  /** What it does, for a command whose failures are alerted. */
  readonly event?: RunEvent;
  readonly run: (invocation: Invocation) => Promise<CommandResult>;
}

/** A stream that people or programs read; a terminal where `isTTY` says so. */
export type OutputStream = Writable & { readonly isTTY?: boolean };

/** What surrounds a command: nothing in `cli/` but main.ts reaches for the process by itself. */
export interface World {
  /** Without node and the script. */
  readonly argv: readonly string[];
  /** `undefined`: that of this process. */
  readonly environment?: Readonly<Record<string, string | undefined>> | undefined;
  readonly cwd: string;
  readonly stdin: NodeJS.ReadableStream & { readonly isTTY?: boolean };
  readonly stdout: OutputStream;
  readonly stderr: OutputStream;
  /** Ends the run; its reason is the error to end with. */
  readonly signal: AbortSignal;
}
