/**
 * Lets the commands that tests start as programs count as covered too: Vitest names a folder in
 * NODE_V8_COVERAGE, which every child that runs Node writes to when it ends. A setup file.
 */

import { chmodSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll } from 'vitest';

const folder = process.env.NODE_V8_COVERAGE;

function isWhole(path: string): boolean {
  try {
    JSON.parse(readFileSync(path, 'utf8'));
    return true;
  } catch {
    return false;
  }
}

if (folder !== undefined) {
  mkdirSync(folder, { recursive: true });
  // Some run as the server's user.
  chmodSync(folder, 0o1777);
  afterAll(() => {
    for (const name of readdirSync(folder)) {
      const path = join(folder, name);
      // Its writer was killed.
      if (!isWhole(path)) rmSync(path);
    }
  });
}
