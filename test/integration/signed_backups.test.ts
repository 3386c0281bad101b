/** Signed manifests: what somebody else could have put into the store is not restored. */

import { execFile } from 'node:child_process';
import { chmod, cp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runTakeBase, type TakenBase } from '../support/base_backup.ts';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import type { Outcome } from '../support/command.ts';
import { tamperedBackup } from '../support/tampered_backup.ts';
import { jsonOf, openWorkbench, type TakenBackup, type Workbench } from '../support/workbench.ts';

const execute = promisify(execFile);
const compressed = (bytes: Buffer) => bytes;

let cluster: TestCluster;
let bench: Workbench;
let signing: Record<string, string>;
let checking: Record<string, string>;
let signed: TakenBackup;

async function makeKey(name: string): Promise<string> {
  const file = join(bench.folder, name);
  await execute('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', file]);
  return file;
}

beforeAll(async () => {
  cluster = await startTestCluster();
  bench = await openWorkbench(cluster, { COMPRESSION: 'none' });
  await cluster.sql('CREATE DATABASE app');
  await cluster.sql('CREATE TABLE t AS SELECT generate_series(1, 100) AS i', 'app');
  const key = await makeKey("key 'x' $(id)");
  const allowed = join(bench.folder, 'allowed signers');
  await writeFile(allowed, `backup@host ${await readFile(`${key}.pub`, 'utf8')}`);
  signing = { SIGNING_KEY: key };
  checking = { ALLOWED_SIGNERS: allowed };
  signed = await bench.backUp('app', [], signing);
});

afterAll(async () => {
  await cluster?.stop({ immediate: true });
  await bench?.remove();
});

const code = (outcome: Outcome) => jsonOf<{ error: { code: string } }>(outcome).error.code;

function restore(what: string, ...flags: string[]): Promise<Outcome> {
  const argv = [what, '--target-database', 'copy', '--force', '--json', ...flags];
  return bench.run('restore_backup', argv, { environment: checking });
}

async function databases(): Promise<unknown[]> {
  const rows = await cluster.sql("SELECT datname FROM pg_database WHERE datname LIKE 'copy%'");
  return rows.map(({ datname }) => datname);
}

async function expectRefused(outcome: Outcome, text: string): Promise<void> {
  expect([outcome.status, code(outcome)], outcome.stderr).toEqual([4, 'NOT_SIGNED']);
  expect(outcome.stderr).toContain(text);
  expect(await databases()).toEqual([]);
}

describe('a signed backup', () => {
  it('passes, and its signature is one that OpenSSH itself takes', async () => {
    const options = { environment: checking };
    const verified = await bench.run('verify_backups', [signed.label], options);
    expect(verified.status, verified.stderr).toBe(0);
    const restored = await restore(signed.label);
    expect(restored.status, restored.stderr).toBe(0);
    await cluster.sql('DROP DATABASE copy');
    const check = `ssh-keygen -Y verify -n holdfast-manifest -I backup@host \
      -f "$ALLOWED" -s manifest.json.sig <manifest.json && sha256sum --check --quiet SHA256SUMS`;
    const env = { PATH: process.env.PATH, ALLOWED: checking.ALLOWED_SIGNERS };
    await execute('sh', ['-c', check], { cwd: signed.folder, env });
  });

  it('of somebody else, without a signature, or without a manifest is not restored', async () => {
    const unsigned = await bench.backUp('app');
    const foreign = await bench.backUp('app', [], { SIGNING_KEY: await makeKey('stranger') });
    await expectRefused(await restore(unsigned.label), 'manifest.json has no signature');
    await expectRefused(await restore(foreign.label), 'nobody who is allowed has signed it');
    const bare = join(bench.folder, 'bare.dump');
    await cp(join(signed.folder, 'database.dump'), bare);
    await expectRefused(await restore(bare, '--jobs', '2'), 'no manifest lies beside it');
    await expectRefused(await restore(unsigned.label, '--keep-going'), 'has no signature');
    await expectRefused(await restore(unsigned.label, '--verify-only'), 'has no signature');
    const options = { environment: checking };
    const verified = await bench.run('verify_backups', [foreign.label, '--json'], options);
    expect(verified.status).toBe(4);
    expect(verified.stdout).toContain('"check": "signature"');
    const known = await restore(unsigned.label, '--unsigned');
    expect(known.status, known.stderr).toBe(0);
    await cluster.sql('DROP DATABASE copy');
    for (const { folder } of [unsigned, foreign]) await rm(folder, { recursive: true });
  });

  it('whose dump, sums and manifest were exchanged together is found out', async () => {
    const forged = join(bench.folder, 'forged');
    await tamperedBackup(signed, forged, compressed, { host: 'somebody else' });
    await execute('sha256sum', ['--check', '--quiet', 'SHA256SUMS'], { cwd: forged });
    await expectRefused(await restore(forged), 'the signature is not of these bytes');
  });

  it('is not taken where the key cannot be used: nothing is half signed', async () => {
    const environment = { SIGNING_KEY: join(bench.folder, 'nowhere') };
    const outcome = await bench.run('backup_full', ['app', '--json'], { environment });
    expect(outcome.status).toBe(2);
    expect(outcome.stderr).toContain('signing_key');
    const options = { environment: { ALLOWED_SIGNERS: environment.SIGNING_KEY } };
    const unreadable = await bench.run('verify_backups', [signed.label, '--json'], options);
    expect([unreadable.status, code(unreadable)]).toEqual([2, 'CONFIG_INVALID']);
  });
});

describe('a signed base backup', () => {
  it('passes, and a forged one leads to no recovery', async () => {
    const taken = await runTakeBase({ ...bench.environment, ...signing, CLUSTER: 'main' });
    expect(taken.status, taken.stderr).toBe(0);
    const { folder, manifest } = jsonOf<TakenBase>(taken);
    const options = { environment: checking };
    const verified = await bench.run('verify_backups', [manifest.label], options);
    expect(verified.status, verified.stderr).toBe(0);
    const at = join(bench.repository, folder, 'manifest.json');
    const text = await readFile(at, 'utf8');
    await chmod(at, 0o600);
    await writeFile(at, text.replace(/"host": "[^"]*"/, '"host": "somebody else"'));
    expect(await readFile(at, 'utf8')).not.toBe(text);
    const argv = ['--pgdata', join(bench.folder, 'new'), '--target-immediate', '--json'];
    const refused = await bench.run('restore_pitr', argv, options);
    expect([refused.status, code(refused)], refused.stderr).toEqual([4, 'NOT_SIGNED']);
    // A recovery takes the copy in the other store, which nobody has been at.
    const nas = join(bench.folder, 'nas');
    await cp(bench.repository, nas, { recursive: true });
    await writeFile(join(nas, folder, 'manifest.json'), text);
    const config = join(bench.folder, 'stores.yaml');
    await writeFile(config, `stores:\n  nas:\n    path: ${nas}\n`, { mode: 0o600 });
    const dry = [...argv, '--dry-run', '--config', config];
    const { stdout, stderr } = await bench.run('restore_pitr', dry, options);
    expect(stderr).toMatch(/the store local does not lead there: the backup \S+ is not signed/);
    expect(stderr).toContain('from the store nas\n');
    expect(stdout).not.toContain('NOT_SIGNED');
    const again = await bench.run('verify_backups', [manifest.label, '--json'], options);
    expect(again.status).toBe(4);
    expect(again.stdout).toContain('"check": "signature"');
  });
});
