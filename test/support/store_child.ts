/**
 * A process that writes into a local store, for tests that kill it or take its space away:
 * `store_child.ts <root> slowly` writes an object and a folder until it is killed;
 * `store_child.ts <root> much` writes 8 MB in both ways and prints what it was told.
 */

import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { createLocalStorage } from '../../src/storage/local.ts';

const [, , root = '', mode] = process.argv;
const storage = createLocalStorage({ root });

async function* pieces(count: number, pauseMs: number) {
  for (let piece = 0; piece < count; piece += 1) {
    if (pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs));
    yield randomBytes(64 * 1024);
    if (piece === 3) process.stdout.write('writing\n');
  }
}

function codeOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'done',
    (error: unknown) => `${Reflect.get(error as object, 'code')}: ${(error as Error).message}`,
  );
}

if (mode === 'slowly') {
  const folder = await storage.createFolder('full/c/d/label');
  await folder.put('whole', Buffer.from('x'));
  await Promise.all([
    storage.put('a/object', Readable.from(pieces(1_000_000, 5))),
    folder.put('dump', Readable.from(pieces(1_000_000, 5))),
  ]);
} else {
  const object = await codeOf(storage.put('a/object', Readable.from(pieces(128, 0))));
  const folder = await storage.createFolder('full/c/d/label');
  const inFolder = await codeOf(folder.put('dump', Readable.from(pieces(128, 0))));
  const commit = await codeOf(folder.commit('manifest.json', randomBytes(8_000_000)));
  await folder.abort();
  const keys: string[] = [];
  for await (const page of storage.list('')) keys.push(...page.map(({ key }) => key));
  const unfinished = await storage.unfinishedFolders('');
  process.stdout.write(`${JSON.stringify({ object, inFolder, commit, keys, unfinished })}\n`);
}
