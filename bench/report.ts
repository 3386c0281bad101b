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
      ratio: floorWall === null ? null : wall / floorWall,
    };
  });
}

const columns = ['', 'wall (s)', 'of the floor', 'CPU (s)', 'CPU server (s)', 'size', 'memory'];

/** The group as a table of text. */
export function describeGroup(group: GroupResult): string {
  const number = (value: number | null) => (value === null ? '' : value.toFixed(2));
  const size = (value: number | null) => (value === null ? '' : formatBytes(value));
  const rows = rowsOf(group).map(({ name, wall, ratio, cpu, serverCpu, bytes, memory }) => [
    name,
    number(wall),
    name === group.floor ? 'floor' : number(ratio),
    number(cpu),
    number(serverCpu),
    size(bytes),
    size(memory),
  ]);
  return `${group.title}\n${formatTable(columns, rows)}`;
}
