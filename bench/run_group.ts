/** Contenders side by side: one round after the other, so that the machine's moods hit all. */

import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { endedChildrenSeconds, memoryReporter, type Sample, timeScript } from './measure.ts';
import type { GroupResult, Series } from './report.ts';
import type { Scene } from './scene.ts';

/** Something that is measured. */
export interface Contender {
  readonly name: string;
  /** For bash. */
  readonly script: string;
  /** Whether it is one command of ours, which then tells the memory that it took. */
  readonly isOurs?: boolean;
  /** Not measured. */
  readonly before?: () => Promise<void>;
  readonly after?: () => Promise<void>;
  /** The bytes that it has written. */
  readonly bytes?: () => Promise<number>;
}

/** What is run side by side, and which of them the others are compared with. */
export interface Group {
  readonly title: string;
  readonly floor: string;
  readonly contenders: readonly Contender[];
}

/** How long the server's process takes to be counted, once its session has ended. */
const reapMs = 200;

async function runOnce(scene: Scene, contender: Contender): Promise<Sample> {
  const { isOurs = false } = contender;
  const told = join(scene.folder, 'memory');
  await contender.before?.();
  await sleep(reapMs);
  const pid = await scene.cluster.pid();
  const serverBefore = await endedChildrenSeconds(pid);
  const options = isOurs ? { NODE_OPTIONS: memoryReporter(told) } : {};
  const environment = { ...scene.environment, ...options };
  const { wall, cpu } = await timeScript({
    text: contender.script,
    environment,
    signal: scene.signal,
  });
  await sleep(reapMs);
  const serverAfter = await endedChildrenSeconds(pid);
  const memory = isOurs ? await readFile(told, 'utf8').catch(() => null) : null;
  await rm(told, { force: true });
  const bytes = (await contender.bytes?.()) ?? null;
  await contender.after?.();
  const serverCpu =
    serverBefore === null || serverAfter === null ? null : serverAfter - serverBefore;
  return { wall, cpu, serverCpu, memory: memory === null ? null : Number(memory), bytes };
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
  for (let round = 1; round <= rounds; round += 1) {
    for (const [index, contender] of group.contenders.entries()) {
      const sample = await runOnce(scene, contender);
      series[index]?.samples.push(sample);
      tell(`round ${round} of ${rounds}: ${contender.name}: ${sample.wall.toFixed(2)} s`);
    }
  }
  return { title: group.title, floor: group.floor, series };
}
