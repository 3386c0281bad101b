/** From samples to medians, ratios and a table. */

import { formatTable } from '../src/cli/table.ts';
import { formatBytes } from '../src/core/units.ts';
import type { Sample } from './measure.ts';

/** All samples of one contender. */
export interface Series {
  readonly name: string;
  readonly samples: readonly Sample[];
}

/** Contenders that were run side by side. */
export interface GroupResult {
  readonly title: string;
  /** The one that the others are compared with. */
  readonly floor: string;
  readonly series: readonly Series[];
  /** What is aimed at; none unless told. */
  readonly goals?: readonly Goal[];
}

/** What is aimed at, as a part of what another contender of the same group took. */
export interface Goal {
  readonly contender: string;
  readonly of: string;
  readonly key: 'wall' | 'each';
  readonly atMost: number;
}

/** The middle one, or the mean of the two in the middle. @throws RangeError when there is none */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const upper = sorted[Math.floor(sorted.length / 2)];
  const lower = sorted[Math.floor((sorted.length - 1) / 2)];
  if (upper === undefined || lower === undefined)
    throw new RangeError('there is no median of nothing');
  return (lower + upper) / 2;
}

/** The medians of one contender, and how many times the floor's wall time it took. */
export interface Row extends Sample {
  readonly name: string;
  readonly ratio: number | null;
}

/** The median of what was measured; `null` where a part of the samples does not tell. */
function medianOf(samples: readonly Sample[], key: keyof Sample): number | null {
  const values = samples.map((sample) => sample[key]);
  const known = values.filter((value) => value !== null);
  return known.length === 0 || known.length < values.length ? null : median(known);
}

/** The medians of a group, in its order. */
export function rowsOf(group: GroupResult): Row[] {
  const floor = group.series.find(({ name }) => name === group.floor);
  const floorWall = floor === undefined ? null : medianOf(floor.samples, 'wall');
  return group.series.map(({ name, samples }) => {
    const wall = median(samples.map((sample) => sample.wall));
    return {
      name,
      wall,
      cpu: median(samples.map((sample) => sample.cpu)),
      serverCpu: medianOf(samples, 'serverCpu'),
      memory: medianOf(samples, 'memory'),
      bytes: medianOf(samples, 'bytes'),
      each: medianOf(samples, 'each'),
      ratio: floorWall === null ? null : wall / floorWall,
    };
  });
}

/** A goal and what came out: `null` where one of the two was not measured. */
export interface GoalRow extends Goal {
  readonly measured: number | null;
}

/** What was aimed at, with what came out. */
export function goalRows(group: GroupResult): GoalRow[] {
  const rows = rowsOf(group);
  return (group.goals ?? []).map((goal) => {
    const value = (name: string) => rows.find((row) => row.name === name)?.[goal.key] ?? null;
    const [ours, theirs] = [value(goal.contender), value(goal.of)];
    return { ...goal, measured: ours === null || theirs === null ? null : ours / theirs };
  });
}

interface Column {
  readonly title: string;
  readonly text: (row: Row, group: GroupResult) => string;
}

const number = (value: number | null) =>
  value === null || Number.isNaN(value) ? '' : value.toFixed(2);
const size = (value: number | null) => (value === null ? '' : formatBytes(value));
const milliseconds = (value: number | null) => (value === null ? '' : (value * 1000).toFixed(1));

const columns: readonly Column[] = [
  { title: '', text: ({ name }) => name },
  { title: 'wall (s)', text: ({ wall }) => number(wall) },
  {
    title: 'of the floor',
    text: ({ name, ratio }, { floor }) => (name === floor ? 'floor' : number(ratio)),
  },
  { title: 'each (ms)', text: ({ each }) => milliseconds(each) },
  { title: 'CPU (s)', text: ({ cpu }) => number(cpu) },
  { title: 'CPU server (s)', text: ({ serverCpu }) => number(serverCpu) },
  { title: 'size', text: ({ bytes }) => size(bytes) },
  { title: 'memory', text: ({ memory }) => size(memory) },
];

/** The cells of a table, with the columns that hold something. */
function cellsOf(group: GroupResult): { header: string[]; rows: string[][] } {
  const rows = rowsOf(group);
  const told = columns.filter(({ text }) => rows.some((row) => text(row, group) !== ''));
  return {
    header: told.map(({ title }) => title),
    rows: rows.map((row) => told.map(({ text }) => text(row, group))),
  };
}

const goalHeader = ['', 'aimed at', 'measured'];

function goalCells(group: GroupResult): string[][] {
  return goalRows(group).map(({ contender, of, key, atMost, measured }) => [
    `${contender}: of ${of}${key === 'each' ? ', each' : ''}`,
    atMost.toFixed(2),
    number(measured),
  ]);
}

/** The group as tables of text. */
export function describeGroup(group: GroupResult): string {
  const { header, rows } = cellsOf(group);
  const goals = goalCells(group);
  const aimed = goals.length === 0 ? '' : `\n${formatTable(goalHeader, goals)}`;
  return `${group.title}\n${formatTable(header, rows)}${aimed}`;
}

/** The same as docs/performance.md has it. */
export function markdownOf(group: GroupResult): string {
  const { header, rows } = cellsOf(group);
  const table = (head: readonly string[], body: readonly (readonly string[])[]) =>
    [
      `| ${head.join(' | ')} |\n|${'---|'.repeat(head.length)}\n`,
      ...body.map((cells) => `| ${cells.join(' | ')} |\n`),
    ].join('');
  const named = rows.map(([name = '', ...rest]) => [`\`${name.replaceAll('|', '\\|')}\``, ...rest]);
  const goals = goalCells(group);
  const aimed = goals.length === 0 ? '' : `\n${table(goalHeader, goals)}`;
  return `${table([group.title, ...header.slice(1)], named)}${aimed}`;
}
