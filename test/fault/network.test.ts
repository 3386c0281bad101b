/**
 * The network between us and the server breaks, or swallows everything, in the middle: the run ends
 * with an error before long, there is no backup, and the old database is whole.
 */

import { createServer, type Socket, connect as tcpConnect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Outcome } from '../support/command.ts';
import { fillShop, fingerprint, openScene, type Scene } from '../support/fault.ts';

/** A way to the server that can be broken. */
interface Proxy {
  readonly environment: Readonly<Record<string, string>>;
  /** Resolves when so many bytes have gone through, in either direction. */
  passed(bytes: number): Promise<void>;
  /** Resets every connection and takes no new one. */
  cut(): void;
  /** Keeps every connection and lets nothing through any more: no error, no end. */
  swallow(): void;
  close(): void;
}

async function openProxy(serverPort: number, password: string): Promise<Proxy> {
  let bytes = 0;
  let mode: 'open' | 'cut' | 'swallow' = 'open';
  const sockets = new Set<Socket>();
  const forward = (from: Socket, to: Socket) => {
    sockets.add(from);
    from.on('error', () => undefined);
    from.on('close', () => {
      sockets.delete(from);
      if (mode !== 'swallow') to.destroy();
    });
    from.on('data', (chunk) => {
      bytes += chunk.length;
      if (mode !== 'open') return;
      if (!to.write(chunk)) {
        from.pause();
        to.once('drain', () => from.resume());
      }
    });
    from.on('end', () => {
      if (mode === 'open') to.end();
    });
  };
  const server = createServer({ allowHalfOpen: true }, (client) => {
    if (mode === 'cut') {
      client.resetAndDestroy();
      return;
    }
    const upstream = tcpConnect({ port: serverPort, host: '127.0.0.1', allowHalfOpen: true });
    forward(client, upstream);
    forward(upstream, client);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  return {
    environment: { PGHOST: '127.0.0.1', PGPORT: String(port), PGPASSWORD: password },
    async passed(wanted) {
      while (bytes < wanted) await sleep(2);
    },
    cut() {
      mode = 'cut';
      for (const socket of sockets) socket.resetAndDestroy();
    },
    swallow() {
      mode = 'swallow';
    },
    close() {
      mode = 'cut';
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

let scene: Scene;
let whole: string;

beforeAll(async () => {
  scene = await openScene({ tcp: true });
  await fillShop(scene.cluster, 200_000);
  whole = await fingerprint(scene.cluster);
  const backup = await scene.run('backup_full', ['shop']);
  expect(backup.status, backup.stderr).toBe(0);
});
afterAll(async () => {
  await scene.close();
});

async function proxy(): Promise<Proxy> {
  const { port, password } = scene.cluster;
  return openProxy(port, password?.reveal() ?? '');
}

async function databases(): Promise<unknown[]> {
  const rows = await scene.cluster.sql(
    "SELECT datname AS name FROM pg_database WHERE datname LIKE 'shop%'",
  );
  return rows.map(({ name }) => name);
}

type Break = 'cut' | 'swallow';
/** A broken connection is told at once; one that swallows everything by the lock's heartbeat. */
const patienceMs = { cut: 15_000, swallow: 100_000 } as const;

/** Runs a command over a network that breaks in the middle; it must end with an error in time. */
async function breakDuring(
  name: 'backup_full' | 'restore_backup',
  argv: readonly string[],
  kind: Break,
): Promise<Outcome> {
  const way = await proxy();
  const victim = scene.start(name, argv, way.environment);
  await way.passed(4e6);
  way[kind]();
  const began = performance.now();
  const outcome = await victim.outcome;
  const tookMs = performance.now() - began;
  await victim.expectGone();
  way.close();
  const { status, stderr } = outcome;
  expect(tookMs, stderr).toBeLessThan(patienceMs[kind]);
  expect([6, 8], `status ${status}: ${stderr}`).toContain(status);
  return outcome;
}

const restore = ['--latest', 'shop', '--force', '--json'];

describe('a network that breaks in the middle', () => {
  // Both at once: where everything is swallowed each of them waits for a minute.
  it.each<Break>(['cut', 'swallow'])(
    '(%s) ends a dump without a backup, and a restore with the old database whole',
    async (kind) => {
      const before = await scene.list();
      const [dumped, restored] = await Promise.all([
        breakDuring('backup_full', ['shop', '--json'], kind),
        breakDuring('restore_backup', restore, kind),
      ]);
      const { code } = JSON.parse(dumped.stdout).databases[0].error;
      expect(['LOCK_LOST', 'DATABASE_UNREACHABLE']).toContain(code);
      // What the restore was building stays on the server that it has lost.
      const after = { ...(await scene.list()), leftovers: null };
      expect(after).toEqual({ ...before, leftovers: null });
      expect(restored.stderr).toContain('"shop" is untouched');
      expect(await fingerprint(scene.cluster)).toBe(whole);

      const backup = await scene.run('backup_full', ['shop']);
      expect(backup.status, backup.stderr).toBe(0);
      const next = await scene.run('restore_backup', restore);
      expect(next.status, next.stderr).toBe(0);
      const others = (await databases()).filter((name) => name !== 'shop');
      expect(others).toEqual([JSON.parse(next.stdout).before]);
      await scene.cluster.sql(`DROP DATABASE "${others[0]}"`);
      expect(await fingerprint(scene.cluster)).toBe(whole);
    },
    180_000,
  );
});
