/**
 * Timelines: each begins where a promotion branched it off from its parent, and its history file
 * tells all of its ancestors (PostgreSQL manual, "Timelines").
 */

import { HoldfastError } from './errors.ts';
import { type Lsn, parseLsn } from './lsn.ts';

/** One line of a history file: an ancestor, and where the next timeline left it. */
export interface Ancestor {
  readonly timeline: number;
  /** The first position that is not the ancestor's any more. */
  readonly switchLsn: Lsn;
  /** In words of the server, such as `no recovery target specified`. */
  readonly reason: string;
}

/** A stretch of WAL on one timeline: from `begin` up to, and without, `end`. */
export interface Stretch {
  readonly timeline: number;
  readonly begin: Lsn;
  /** `null` for the last one, which has not ended. */
  readonly end: Lsn | null;
}

/**
 * Reads a history file.
 *
 * @param timeline the one that the file is about; it is none of its own ancestors
 * @throws HoldfastError DAMAGED when the text is no history of that timeline
 */
export function parseHistory(text: string, timeline: number): Ancestor[] {
  const damaged = (why: string) =>
    new HoldfastError('DAMAGED', `the history of timeline ${timeline} cannot be used: ${why}`);
  const ancestors: Ancestor[] = [];
  for (const line of text.split('\n')) {
    const content = line.trim();
    if (content === '' || content.startsWith('#')) continue;
    const match = /^(\d+)\s+(\S+)(?:\s+(.*))?$/.exec(content);
    const parent = Number(match?.[1] ?? 0);
    const switchLsn = parseLsn(match?.[2] ?? '');
    const last = ancestors.at(-1);
    if (switchLsn === null || parent === 0) throw damaged(`"${content}" is no line of one`);
    const isLater = parent > (last?.timeline ?? 0) && switchLsn >= (last?.switchLsn ?? 0n);
    if (parent >= timeline || !isLater) throw damaged('its lines are out of order');
    ancestors.push({ timeline: parent, switchLsn, reason: match?.[3] ?? '' });
  }
  if (ancestors.length === 0) throw damaged('it names no ancestor');
  return ancestors;
}

/**
 * The stretches of WAL that lead to the end of a timeline, oldest first.
 *
 * @param history of that timeline; none for the first one
 */
export function stretchesOf(timeline: number, history: readonly Ancestor[]): Stretch[] {
  let begin: Lsn = 0n;
  const stretches: Stretch[] = [];
  for (const { timeline: ancestor, switchLsn } of history) {
    stretches.push({ timeline: ancestor, begin, end: switchLsn });
    begin = switchLsn;
  }
  return [...stretches, { timeline, begin, end: null }];
}
