import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Context } from '../../../../src/operations/context.ts';
import {
  keepWalMemory,
  readWalMemory,
  type SeenServer,
} from '../../../../src/operations/monitor/wal_memory.ts';

let folder: string;
let said: string[];
let context: Context;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'holdfast-memory-'));
  said = [];
  const log = { detail: (text: string) => void said.push(text) };
  const repository = {};
  context = { log, repository, config: { settings: { backup_dir: folder } } } as unknown as Context;
});
afterEach(() => rm(folder, { recursive: true }));

const seen = (server: string, minute: number): SeenServer => {
  const at = new Date(Date.UTC(2026, 10, 21, 2, minute)).toISOString();
  return { server, at, waiting: minute, idle_at: null };
};

it('remembers what was seen, and of each server the last of it', async () => {
  expect(await readWalMemory(context)).toEqual(new Map());
  await keepWalMemory(context, new Map(), [seen('a', 1), seen('odd\n"b"', 1)]);
  await keepWalMemory(context, await readWalMemory(context), [seen('a', 2)]);
  const known = await readWalMemory(context);
  expect(known.get('a')).toEqual(seen('a', 2));
  expect(known.get('odd\n"b"')).toEqual(seen('odd\n"b"', 1));
  expect(said).toEqual([]);
});

it('remembers nothing where the repository is not there: its disk may not be mounted', async () => {
  const { log, config } = context;
  await keepWalMemory({ log, config } as Context, new Map(), [seen('a', 1)]);
  expect(await readdir(folder)).toEqual([]);
});

it('forgets the servers that were seen longest ago when there are too many', async () => {
  const many = Array.from({ length: 250 }, (_, index) => seen(`server ${index}`, index));
  await keepWalMemory(context, new Map(), many);
  const known = await readWalMemory(context);
  expect(known.size).toBe(200);
  expect(known.has('server 249')).toBe(true);
  expect(known.has('server 49')).toBe(false);
});

it('begins anew when it is damaged, and fails nothing when it cannot be written', async () => {
  const state = join(folder, 'state', 'monitor');
  await mkdir(state, { recursive: true });
  await writeFile(join(state, 'servers.json'), '{"format": 1, "serv');
  expect(await readWalMemory(context)).toEqual(new Map());
  expect(said).toHaveLength(1);
  await rm(state, { recursive: true });
  await writeFile(state, 'a file in the way');
  await keepWalMemory(context, new Map(), [seen('a', 1)]);
  expect(said).toHaveLength(2);
});
