/** `--wal` of scripts/list_backups.ts: what can be replayed from the WAL archives. */

import { exitStatus } from '../core/errors.ts';
import { printable } from '../core/printable.ts';
import { formatCount } from '../core/units.ts';
import { describeClaim } from '../core/wal_claim.ts';
import type { IndexedCommit } from '../core/wal_index.ts';
import {
  type ArchiveFacts,
  type GapFacts,
  listWal,
  type RangeFacts,
  type TimelineFacts,
} from '../operations/archiving/wal_list.ts';
import type { RepositoryContext } from '../operations/context.ts';
import type { CommandResult, Flags } from './command.ts';

/** So many names of foreign files are told; JSON has them all. */
const namesMax = 10;

function describeTime({ at }: IndexedCommit): string {
  return at.replace('T', ' ').replace('Z', ' UTC');
}

function describeRange(range: RangeFacts): string[] {
  const { first_segment: first, last_segment: last, first_commit: from, last_commit: to } = range;
  const count = formatCount(range.segments, 'segment');
  const commits =
    from === null || to === null
      ? []
      : [`  commits from ${describeTime(from)} to ${describeTime(to)}`];
  const unfinished = range.ends_unfinished ? ', the last one unfinished' : '';
  return [
    `${first} to ${last}: ${count}${unfinished}, ${range.begin_lsn} to ${range.end_lsn}`,
    ...commits,
  ];
}

function describeGap({ first_segment: first, last_segment: last, segments }: GapFacts): string {
  if (segments === 1) return `GAP: ${first} is missing`;
  return `GAP: ${first} to ${last} are missing (${formatCount(segments, 'segment')})`;
}

function describeOrigin(facts: TimelineFacts): string {
  if (facts.origin === 'branch') {
    return `, which left timeline ${facts.parent} at ${facts.switch_lsn}`;
  }
  if (facts.origin === 'first') return '';
  const why = facts.problem === null ? 'its history file is missing' : facts.problem;
  return `, of unknown origin: ${why}`;
}

/** What of a timeline its parent has not shown: the ranges that reach it, the gaps before those. */
function describeTimeline(facts: TimelineFacts, shown: Set<string>): string[] {
  const id = facts.timeline.toString(16).toUpperCase().padStart(8, '0');
  const own = facts.ranges.filter(({ last_segment: last }) => last.startsWith(id));
  const gaps = facts.gaps.filter(({ first_segment: first }) => !shown.has(first));
  for (const { first_segment: first } of gaps) shown.add(first);
  const newest = facts.ranges.at(-1)?.last_commit;
  return [
    `timeline ${facts.timeline}${describeOrigin(facts)}`,
    ...own.flatMap(describeRange).map((line) => `  ${line}`),
    ...(own.length === 0 ? ['  no segment of its own'] : []),
    ...gaps.map((gap) => `  ${describeGap(gap)}`),
    ...(newest == null
      ? []
      : [`  newest recoverable point: ${describeTime(newest)}, ${newest.end_lsn}`]),
  ];
}

/** How many ancestors of a timeline are shown: so far it is indented. */
function depthOf({ parent }: TimelineFacts, timelines: readonly TimelineFacts[]): number {
  const above = timelines.find(({ timeline }) => timeline === parent);
  return above === undefined ? 0 : 1 + depthOf(above, timelines);
}

function describeArchive(facts: ArchiveFacts): string {
  const { timelines, claim, foreign, stream } = facts;
  const shown = new Set<string>();
  const owner = claim === null ? 'nobody has claimed it' : `claimed by ${describeClaim(claim)}`;
  const tree = timelines.flatMap((each) => {
    const indent = '  '.repeat(1 + depthOf(each, timelines));
    return describeTimeline(each, shown).map((line) => `${indent}${line}`);
  });
  const streamed = stream?.segments.map((name) => name.slice(0, 24)).join(', ') ?? '';
  const notes = [
    ...(stream === null
      ? []
      : [`streamed from ${printable(stream.server)}, slot ${printable(stream.slot)}`]),
    ...(streamed === '' ? [] : [`in the stream alone: ${streamed}`]),
    ...(timelines.length === 0 ? ['no WAL has arrived'] : []),
    ...(facts.times_unknown === null ? [] : [`not all times are known: ${facts.times_unknown}`]),
    ...foreign.slice(0, namesMax).map((path) => `foreign, left alone: ${printable(path)}`),
    ...(foreign.length > namesMax ? [`and ${foreign.length - namesMax} more foreign files`] : []),
  ];
  return [
    `cluster ${printable(facts.cluster)}: ${facts.claim_problem ?? owner}`,
    ...tree,
    ...notes.map((note) => `  ${note}`),
  ]
    .map((line) => `${line}\n`)
    .join('');
}

/** Lists the WAL archives. */
export async function listWalCommand(
  context: RepositoryContext,
  flags: Flags,
): Promise<CommandResult> {
  const archives = await listWal(context, flags.cluster as string | undefined);
  const text = archives.length === 0 ? 'no WAL archive\n' : archives.map(describeArchive).join('');
  return { status: exitStatus.done, json: { archives }, text };
}
