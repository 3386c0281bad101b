/**
 * Scratch clusters: a PostgreSQL server of our own in a private folder, for the quickstart, for
 * drills and for tests. It ends, and its folder goes, also when this process dies without a word.
 */

import { randomBytes } from 'node:crypto';
import { chown, mkdtemp, rmdir } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { HoldfastError } from '../core/errors.ts';
import { Secret } from '../core/secret.ts';
import { findUserByName, isRoot, type OsUser } from '../process/user.ts';
import { clusterSettings, isRunning, ScratchServer, type ServerLayout } from './cluster_server.ts';
import type { ConnectionParameters } from './connection_parameters.ts';
import { findTool } from './tools.ts';

/** How a scratch cluster is made. */
export interface ScratchClusterOptions {
  /** For the server's programs; nothing else is inherited. */
  readonly environment: Readonly<Record<string, string>>;
  /** Where the private folder is made; the system's folder for temporary files unless told. */
  readonly directory?: string | undefined;
  /** The folder of initdb and pg_ctl; the newest installed server unless told. */
  readonly binDirectory?: string | undefined;
  /** Also listens on 127.0.0.1, on a free port, with a password (SCRAM). */
  readonly tcp?: boolean | undefined;
  /** Gives up safety against a crash of the machine for speed. */
  readonly fast?: boolean | undefined;
  /** Lines of postgresql.conf. */
  readonly settings?: Readonly<Record<string, string>> | undefined;
  /** The size of a WAL segment in MB, a power of 2; 16 unless told. */
  readonly walSegmentMb?: number | undefined;
  /** Whom the server runs as when root starts it: `postgres` where it exists, else `nobody`. */
  readonly user?: OsUser | undefined;
  /** Gives up the start; a started cluster is ended by {@link ScratchCluster.stop} only. */
  readonly signal?: AbortSignal | undefined;
}

/** A running scratch cluster, and the ways to reach and to end it. */
export interface ScratchCluster {
  readonly major: number;
  readonly binDirectory: string;
  readonly dataDirectory: string;
  readonly socketDirectory: string;
  readonly port: number;
  readonly superuser: 'postgres';
  /** Of the superuser, for TCP; `null` without it: the Unix socket wants none. */
  readonly password: Secret | null;
  /** Whom the server runs as; `null`: as this process does. */
  readonly osUser: OsUser | null;
  /** Of the postmaster. */
  pid(): Promise<number>;
  /** Through the Unix socket. */
  parameters(database?: string, user?: string): ConnectionParameters;
  /** libpq's variables for the Unix socket. */
  environment(database?: string): Record<string, string>;
  connectionUrl(database?: string): string;
  /** Of the superuser with its password, through TCP. */
  tcpUrl(database?: string): string;
  /** The end of the server's log. */
  logTail(): Promise<string>;
  /** Ends the postmaster as a crash would. */
  kill9(): Promise<void>;
  /** Starts the server again, after ending it where it still runs. */
  restart(): Promise<void>;
  /** Ends the server (a fast shutdown, or an immediate one) and removes its folder. */
  stop(options?: { readonly immediate?: boolean }): Promise<void>;
}

/** sockaddr_un.sun_path without its final NUL, on the strictest system in use (macOS: 104). */
const socketPathBytesMax = 103;

/** A port of 127.0.0.1 that nobody listens on now. */
async function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address ? address.port : 0));
    });
  });
}

/** A folder that only its owner, and root, can enter. */
async function makePrivateFolder(parent: string, owner: OsUser | null): Promise<string> {
  const folder = await mkdtemp(join(parent, 'holdfast-'));
  if (owner !== null) await chown(folder, owner.uid, owner.gid);
  return folder;
}

function chooseUser(wanted: OsUser | undefined): OsUser | null {
  if (!isRoot()) return null;
  const user = wanted ?? findUserByName('postgres') ?? findUserByName('nobody');
  if (user === null || user.uid === 0) {
    throw new HoldfastError(
      'WRONG_USER',
      'PostgreSQL does not run as root, and no other user is there',
      {
        hint: 'Start this as an ordinary user, or add a user named postgres.',
      },
    );
  }
  return user;
}

async function makeFolders(directory: string, user: OsUser | null): Promise<ServerLayout> {
  const base = await makePrivateFolder(directory, user);
  const tooLong = Buffer.byteLength(join(base, '.s.PGSQL.65535'), 'utf8') > socketPathBytesMax;
  const socketDirectory = tooLong ? await makePrivateFolder('/tmp', user) : base;
  return {
    user,
    base,
    data: join(base, 'data'),
    log: join(base, 'server.log'),
    socketDirectory,
    folders: tooLong ? [base, socketDirectory] : [base],
  };
}

/** The parameters of a connection through a Unix socket that asks for no password. */
function socketParameters(
  socketDirectory: string,
  port: number,
  dbname: string,
  user: string,
): ConnectionParameters {
  return {
    host: socketDirectory,
    hostaddr: null,
    port,
    user,
    password: null,
    passwordFrom: null,
    passfile: '/dev/null',
    dbname,
    sslmode: 'disable',
    connectTimeoutSeconds: 10,
    options: null,
    tls: {
      rootcert: null,
      cert: null,
      key: null,
      crl: null,
      sni: true,
      negotiation: 'postgres',
      minVersion: null,
      maxVersion: null,
      channelBinding: 'prefer',
    },
  };
}

/** The ways to say where the cluster is. */
function addresses(
  socketDirectory: string,
  port: number,
  password: Secret | null,
): Pick<ScratchCluster, 'parameters' | 'environment' | 'connectionUrl' | 'tcpUrl'> {
  return {
    parameters: (database = 'postgres', role = 'postgres') =>
      socketParameters(socketDirectory, port, database, role),
    environment: (database) => ({
      PGHOST: socketDirectory,
      PGPORT: String(port),
      PGUSER: 'postgres',
      ...(database === undefined ? {} : { PGDATABASE: database }),
    }),
    connectionUrl(database = 'postgres') {
      const host = encodeURIComponent(socketDirectory);
      return `postgresql://postgres@/${encodeURIComponent(database)}?host=${host}&port=${port}`;
    },
    tcpUrl(database = 'postgres') {
      if (password === null) throw new HoldfastError('UNEXPECTED', 'the cluster has no TCP port');
      const name = encodeURIComponent(database);
      return `postgresql://postgres:${password.reveal()}@127.0.0.1:${port}/${name}`;
    },
  };
}

async function requirePid(server: ScratchServer): Promise<number> {
  const pid = await server.pid();
  if (pid === null) throw new HoldfastError('UNEXPECTED', 'the scratch server does not run');
  return pid;
}

/**
 * Makes and starts a cluster: UTF8, locale C.UTF-8, superuser `postgres`, trusted on a Unix socket
 * that only its owner and root can reach. The caller calls `stop()` in a `finally`; while it has
 * not, the process stays alive.
 *
 * @throws HoldfastError PROGRAM_MISSING without an installed server, WRONG_USER, CHILD_FAILED with
 * the server's own words, INTERRUPTED
 */
export async function startScratchCluster(options: ScratchClusterOptions): Promise<ScratchCluster> {
  const { environment, tcp = false } = options;
  const tool = await findTool({ program: 'initdb', environment, pgBinDir: options.binDirectory });
  const user = chooseUser(options.user);
  // The caller's TMPDIR may be closed to another user.
  const temporary = user === null ? (environment.TMPDIR ?? '/tmp') : '/tmp';
  const layout = await makeFolders(options.directory ?? temporary, user);
  const { socketDirectory } = layout;
  const server = new ScratchServer(layout, tool.directory, options);
  const watchdog = server.startWatchdog();
  const port = tcp ? await freePort() : 5432;
  const password = tcp ? new Secret(randomBytes(18).toString('base64url')) : null;

  /** The watchdog does the rest, now as after a crash. */
  async function dismantle(): Promise<void> {
    watchdog.stdin.end();
    await watchdog.exited;
    await Promise.allSettled(layout.folders.map((folder) => rmdir(folder)));
  }

  try {
    const settings = { tcp, fast: options.fast ?? false, settings: options.settings ?? {} };
    await server.create(password, clusterSettings({ socketDirectory, port, ...settings }));
    await server.start(options.signal);
  } catch (error) {
    await dismantle();
    throw error;
  }

  return {
    major: tool.major,
    binDirectory: tool.directory,
    dataDirectory: layout.data,
    socketDirectory,
    port,
    superuser: 'postgres',
    password,
    osUser: user,
    pid: () => requirePid(server),
    ...addresses(socketDirectory, port, password),
    logTail: () => server.logTail(),
    async kill9() {
      const pid = await requirePid(server);
      process.kill(pid, 'SIGKILL');
      while (await isRunning(pid)) await sleep(10);
    },
    async restart() {
      if ((await server.pid()) !== null) await server.stop('fast');
      await server.startAgain();
    },
    async stop({ immediate = false } = {}) {
      await server.stop(immediate ? 'immediate' : 'fast');
      await dismantle();
    },
  };
}
