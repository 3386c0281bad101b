/** Asks before something is changed that cannot be taken back by itself. */

import { once } from 'node:events';
import { createInterface } from 'node:readline/promises';
import { HoldfastError } from '../core/errors.ts';
import type { World } from './command.ts';

/** A question that must be answered before a command goes on. */
export interface Question {
  /** Shown before the question, line by line. */
  readonly plan: readonly string[];
  /** `restore over "app"?` */
  readonly question: string;
  /** What has to be typed: `yes`, or the name of a production database. */
  readonly answer: string;
  /** The flag that goes without asking, with its dashes. */
  readonly flag: string;
  readonly world: Pick<World, 'stdin' | 'stderr' | 'signal'>;
}

/**
 * What has to be typed before a database is replaced or dropped: its name where the setting
 * `environment` says production, in whatever spelling, since a guard must not fail open; else
 * `yes`.
 */
export function answerFor(environment: string | null, database: string): string {
  const kind = environment?.trim().toLowerCase();
  return kind === 'production' || kind === 'prod' ? database : 'yes';
}

/**
 * Asks on the terminal.
 *
 * @throws HoldfastError CONFIRMATION_NEEDED without a terminal, or with another answer
 */
export async function confirm(asked: Question): Promise<void> {
  const { stdin, stderr, signal } = asked.world;
  for (const line of asked.plan) stderr.write(`${line}\n`);
  if (stdin.isTTY !== true) {
    throw new HoldfastError('CONFIRMATION_NEEDED', 'there is no terminal to ask on', {
      hint: `Nothing was changed. Add ${asked.flag} to do what stands above.`,
    });
  }
  const terminal = createInterface({ input: stdin, output: stderr });
  // At the end of the input (Ctrl-D) Node 24 leaves the question unanswered for ever.
  const closed = once(terminal, 'close').then(() => '');
  let typed: string;
  try {
    const text = `${asked.question} Type ${asked.answer} to go ahead: `;
    typed = await Promise.race([terminal.question(text, { signal }), closed]);
  } catch (error) {
    throw signal.aborted ? signal.reason : error;
  } finally {
    terminal.close();
  }
  if (typed !== asked.answer) {
    throw new HoldfastError('CONFIRMATION_NEEDED', `${JSON.stringify(typed)} was typed: stopped`, {
      hint: `Nothing was changed. Type ${asked.answer}, or add ${asked.flag}.`,
    });
  }
}
