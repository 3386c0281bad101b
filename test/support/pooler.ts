/**
 * A connection pooler as small as one can be: it speaks to clients as PostgreSQL would, with
 * process numbers of its own, and gives a session of the server to whichever client has a
 * transaction (`transaction`), or to one client for as long as it stays (`session`).
 */

import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export interface Pooler {
  readonly port: number;
  stop(): Promise<void>;
}

export interface PoolerOptions {
  readonly mode: 'session' | 'transaction';
  /** The Unix socket of the server. */
  readonly serverSocket: string;
}

/** `R` with code 0, every `S`, then `Z`: what a client gets told; the server's `K` is replaced. */
const ownKeyData = Buffer.from([0x4b, 0, 0, 0, 12, 0x7f, 1, 2, 3, 0, 0, 0, 9]);

/** Takes whole messages (a type, a length, a body) out of what has arrived. */
function createSplitter() {
  let rest: Buffer = Buffer.alloc(0);
  return (chunk: Buffer): Buffer[] => {
    rest = Buffer.concat([rest, chunk]);
    const messages: Buffer[] = [];
    while (rest.length >= 5 && rest.length >= 1 + rest.readUInt32BE(1)) {
      const end = 1 + rest.readUInt32BE(1);
      messages.push(rest.subarray(0, end));
      rest = rest.subarray(end);
    }
    return messages;
  };
}

/** A session with the server, which several clients use one after the other. */
class Backend {
  readonly #socket: Socket;
  readonly greeting: Promise<Buffer>;
  /** Where its answers go now. */
  onMessage: (message: Buffer) => void = () => undefined;

  constructor(serverSocket: string, startup: Buffer) {
    this.#socket = connect(serverSocket);
    this.#socket.on('error', () => undefined);
    const split = createSplitter();
    const { promise, resolve } = Promise.withResolvers<Buffer>();
    this.greeting = promise;
    const greeting: Buffer[] = [];
    let isReady = false;
    this.#socket.on('data', (chunk) => {
      for (const message of split(chunk)) {
        if (isReady) {
          this.onMessage(message);
          continue;
        }
        const type = String.fromCharCode(message[0] ?? 0);
        greeting.push(type === 'K' ? ownKeyData : message);
        if (type !== 'Z') continue;
        isReady = true;
        resolve(Buffer.concat(greeting));
      }
    });
    this.#socket.write(startup);
  }

  send(message: Buffer): void {
    this.#socket.write(message);
  }

  end(): void {
    this.#socket.destroy();
  }
}

/** What the clients of a pooler share. */
class Pool {
  readonly mode: PoolerOptions['mode'];
  readonly #serverSocket: string;
  readonly #idle: Backend[] = [];
  readonly #all = new Set<Backend>();

  constructor({ mode, serverSocket }: PoolerOptions) {
    this.mode = mode;
    this.#serverSocket = serverSocket;
  }

  /** The session that was used last, else a new one. */
  take(startup: Buffer): Backend {
    const backend = this.#idle.pop() ?? new Backend(this.#serverSocket, startup);
    this.#all.add(backend);
    return backend;
  }

  giveBack(backend: Backend): void {
    this.#idle.push(backend);
  }

  end(): void {
    for (const backend of this.#all) backend.end();
  }
}

/** A client of the pooler, which has a session of the server now and then. */
class PooledClient {
  readonly #socket: Socket;
  readonly #pool: Pool;
  readonly #split = createSplitter();
  #startup: Buffer | null = null;
  #backend: Backend | null = null;

  constructor(socket: Socket, pool: Pool) {
    this.#socket = socket;
    this.#pool = pool;
    let work = Promise.resolve();
    socket.on('data', (chunk) => {
      work = work.then(() => this.#handle(chunk));
    });
    socket.on('error', () => undefined);
    socket.on('close', () => this.#backend?.end());
  }

  #take(startup: Buffer): Backend {
    const backend = this.#pool.take(startup);
    backend.onMessage = (message) => {
      this.#socket.write(message);
      const isIdle = message[0] === 0x5a && message[5] === 0x49;
      if (this.#pool.mode === 'session' || !isIdle) return;
      this.#backend = null;
      this.#pool.giveBack(backend);
    };
    this.#backend = backend;
    return backend;
  }

  async #greet(startup: Buffer): Promise<void> {
    // SSLRequest: no TLS here.
    if (startup.readUInt32BE(4) === 80877103) {
      this.#socket.write('N');
      return;
    }
    this.#startup = startup;
    const backend = this.#take(startup);
    this.#socket.write(await backend.greeting);
    if (this.#pool.mode === 'session') return;
    this.#backend = null;
    this.#pool.giveBack(backend);
  }

  async #handle(chunk: Buffer): Promise<void> {
    const startup = this.#startup;
    if (startup === null) {
      await this.#greet(chunk);
      return;
    }
    for (const message of this.#split(chunk)) {
      if (message[0] === 0x58) {
        this.#socket.destroy();
        return;
      }
      const backend = this.#backend ?? this.#take(startup);
      await backend.greeting;
      backend.send(message);
    }
  }
}

/** Starts a pooler on a free port of this machine. */
export async function startPooler(options: PoolerOptions): Promise<Pooler> {
  const pool = new Pool(options);
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    new PooledClient(socket, pool);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    async stop() {
      for (const socket of sockets) socket.destroy();
      pool.end();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
