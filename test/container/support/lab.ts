/** What the container tests share: the images that test/lab has built, and the checkout. */

import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';

export const checkout = join(import.meta.dirname, '../../..');

/** The checkout's folder inside a container. */
export const mountedCheckout = '/checkout';

/** The image that test/run.sh has prepared and named in the environment. */
export function labImage(variable: string): string {
  const image = process.env[variable];
  if (image === undefined || image === '') {
    throw new Error(`${variable} is not set: run the container tests by \`npm test\``);
  }
  return image;
}

/**
 * What a container does until it is stopped: a shell that also collects the dead whose parents are
 * gone. Without it a killed server would stay a zombie, and its pid would look alive.
 */
export const idle = ['sh', '-c', 'while :; do sleep 0.1; done'];

/** Standard output of a program that ends well. */
export async function outputOf(program: string, args: readonly string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(program, [...args], {
    cwd: checkout,
    // Where the commands keep their compiled code too: each file of tests loads all of src/.
    env: {
      ...process.env,
      NODE_COMPILE_CACHE: join(checkout, 'node_modules/.cache/holdfast-node'),
    },
    maxBuffer: 256 * 1024 * 1024,
  });
  return stdout;
}

/** Vitest on this Node, by paths that hold from the checkout's folder. */
export const vitest = ['node_modules/.bin/node', 'node_modules/vitest/vitest.mjs'] as const;

/** The tests of one project that this machine would run: file (in the checkout) → how many. */
export async function listTests(project: string): Promise<Map<string, number>> {
  const [node, program] = vitest;
  const args = ['list', '--configLoader', 'native', '--project', project, '--json'];
  // Read as text, a test that is written once and run for several values counts as one.
  args.push('--staticParse=false');
  const listed: { file: string }[] = JSON.parse(await outputOf(node, [program, ...args]));
  const counts = new Map<string, number>();
  for (const { file } of listed) {
    const path = file.slice(checkout.length + 1);
    counts.set(path, (counts.get(path) ?? 0) + 1);
  }
  return counts;
}
