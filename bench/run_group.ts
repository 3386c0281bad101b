/** Contenders side by side: one round after the other, so that the machine's moods hit all. */

import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  busySeconds,
  endedChildrenSeconds,
  memoryReporter,
  type Sample,
  timeScript,
} from './measure.ts';
import type { Goal, GroupResult, Series } from './report.ts';
import type { Scene } from './scene.ts';

/** Something that is measured. */
export interface Contender {
  readonly name: string;
  /** For bash; or what is done by a server, which tells by itself what it took. */
  readonly script: string | (() => Promise<Measured>);
  /** Whether it is one command of ours, which then tells the memory that it took. */
  readonly isOurs?: boolean;
  /** Not measured. */
  readonly before?: () => Promise<void>;
  readonly after?: () => Promise<void>;
  /** The bytes that it has written. */
  readonly bytes?: () => Promise<number>;
}

/** What a run tells that is no script of ours. */
export type Measured = Pick<Sample, 'wall'> & Partial<Sample>;

/** What is run side by side, and which of them the others are compared with. */
export interface Group {
  readonly title: string;
  readonly floor: string;
  readonly contenders: readonly Contender[];
  /** Once, before the first round; not measured. */
  readonly prepare?: () => Promise<void>;
  /** Once, after the last round, whatever happened. */
  readonly close?: () => Promise<void>;
  /** Beside the scene's. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Its processes are nobody's children: the processor time is the whole machine's. */
  readonly countsMachine?: boolean;
  /** What is aimed at. */
  readonly goals?: readonly Goal[];
}

/** How long the server's process takes to be counted, once its session has ended. */
const reapMs = 200;

async function serverSeconds(scene: Scene, group: Group): Promise<number | null> {
  return group.countsMachine === true ? null : endedChildrenSeconds(await scene.cluster.pid());
}

async function runScript(scene: Scene, group: Group, contender: Contender): Promise<Measured> {
  const { script, isOurs = false } = contender;
  if (typeof script === 'function') return script();
  const told = join(scene.folder, 'memory');
  const options = isOurs ? { NODE_OPTIONS: memoryReporter(told) } : {};
  const environment = { ...scene.environment, ...group.environment, ...options };
  const measured = await timeScript({ text: script, environment, signal: scene.signal });
  const memory = isOurs ? await readFile(told, 'utf8').catch(() => null) : null;
  await rm(told, { force: true });
  return { ...measured, memory: memory === null ? null : Number(memory) };
}

function since(after: number | null, before: number | null): number | null {
  return after === null || before === null ? null : after - before;
}

async function runOnce(scene: Scene, group: Group, contender: Contender): Promise<Sample> {
  await contender.before?.();
  // What the one before has left to be written would be paid for by this one.
  const { environment, signal } = scene;
  await timeScript({ text: 'sync', environment, signal });
  await sleep(reapMs);
  const serverBefore = await serverSeconds(scene, group);
  const busyBefore = group.countsMachine === true ? await busySeconds() : null;
  const measured = await runScript(scene, group, contender);
  const busy = group.countsMachine === true ? since(await busySeconds(), busyBefore) : null;
  await sleep(reapMs);
  const serverCpu = since(await serverSeconds(scene, group), serverBefore);
  const bytes = (await contender.bytes?.()) ?? null;
  await contender.after?.();
  const { wall, cpu = Number.NaN, memory = null, each = null } = measured;
  return { wall, cpu: busy ?? cpu, serverCpu, memory, bytes, each };
}

/** Runs every contender so many times, alternating. @param tell hears of each run */
export async function runGroup(
  scene: Scene,
  group: Group,
  rounds: number,
  tell: (text: string) => void,
): Promise<GroupResult> {
  const series: (Series & { readonly samples: Sample[] })[] = group.contenders.map(({ name }) => ({
    name,
    samples: [],
  }));
  await group.prepare?.();
  for (let round = 1; round <= rounds; round += 1) {
    for (const [index, contender] of group.contenders.entries()) {
      const sample = await runOnce(scene, group, contender);
      series[index]?.samples.push(sample);
      tell(`round ${round} of ${rounds}: ${contender.name}: ${sample.wall.toFixed(2)} s`);
    }
  }
  const { title, floor, goals = [] } = group;
  return { title, floor, series, goals };
}
