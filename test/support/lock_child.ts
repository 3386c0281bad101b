/**
 * A process that takes a lock: `lock_child.ts <lock> count <file> <times>` adds one to the number
 * in a file under the lock, again and again; `lock_child.ts <lock> hold` holds it until it is
 * killed.
 */

import { readFile, writeFile } from 'node:fs/promises';
import { withFileLock } from '../../src/catalog/lock.ts';

const [, , lock = '', mode, file = '', times = '0'] = process.argv;
if (mode === 'hold') {
  await withFileLock(lock, { waitMs: 0 }, async () => {
    process.stdout.write('holding\n');
    await new Promise((resolve) => setTimeout(resolve, 600_000));
  });
} else {
  for (let round = 0; round < Number(times); round += 1) {
    await withFileLock(lock, { waitMs: 60_000 }, async () => {
      const value = Number(await readFile(file, 'utf8'));
      await writeFile(file, String(value + 1));
    });
  }
}
