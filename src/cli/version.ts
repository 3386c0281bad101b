import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The checkout: the folder of package.json. */
export const projectDir = resolve(dirname(fileURLToPath(import.meta.url)), '../..');

/** The version of this tool, from package.json. */
export function toolVersion(): string {
  const text = readFileSync(resolve(projectDir, 'package.json'), 'utf8');
  return String((JSON.parse(text) as { version: unknown }).version);
}
