/**
 * A proxy between us and an S3 server that does, by a script, what networks and servers do on bad
 * days: it answers 500 or 503, resets connections in the middle of a body, loses answers to what
 * was done, hangs, is slow, flips a byte. Requests are forwarded with their own Host, so that their
 * signatures hold.
 *
 * ```ts
 * const proxy = await startFlakyProxy(server.endpoint, {
 *   script: (request) =>
 *     request.operation === 'UploadPart' && request.number % 3 === 0 ? resetAfter(100_000) : null,
 * });
 * createS3Storage(server.optionsFor(bucket, { endpoint: proxy.endpoint }));
 * ```
 *
 * The script is asked once for each request, before anything is forwarded; `null` lets it through.
 * {@link times} and {@link atRandom} make scripts of the usual kinds.
 */

import {
  createServer,
  type IncomingMessage,
  type ServerResponse,
  request as sendRequest,
} from 'node:http';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';

/** What happens to one request. */
export type Fault =
  /** It is not forwarded; the answer has this status, and S3's XML with this code. */
  | { readonly kind: 'answer'; readonly status: number; readonly code: string }
  /** The connection is reset after so many bytes of the request's body (or before its answer). */
  | { readonly kind: 'reset request'; readonly afterBytes: number }
  /** The connection is reset after so many bytes of the answer's body. */
  | { readonly kind: 'reset answer'; readonly afterBytes: number }
  /** The server has done it, and the connection is reset before its answer. */
  | { readonly kind: 'lose answer' }
  /** It is taken, and never answered; nor is it forwarded. */
  | { readonly kind: 'hang' }
  /** Both bodies pass at this rate. */
  | { readonly kind: 'slow'; readonly bytesPerSecond: number }
  /** The lowest bit of that byte of the request's body is flipped. */
  | { readonly kind: 'flip request'; readonly at: number }
  /** The same in the body of the answer. */
  | { readonly kind: 'flip answer'; readonly at: number };

/** A request, as far as scripts look at it. */
export interface ProxiedRequest {
  /** From 1, in the order in which they came. */
  readonly number: number;
  readonly method: string;
  /** With the query. */
  readonly path: string;
  /** In S3's words: `PutObject`, `UploadPart`, `CompleteMultipartUpload` … */
  readonly operation: string;
  /** Of the request's body. */
  readonly bytes: number;
}

export type FaultScript = (request: ProxiedRequest) => Fault | null;

/** A proxy that runs. */
export interface FlakyProxy {
  /** `http://127.0.0.1:<port>` */
  readonly endpoint: string;
  /** All requests so far. */
  readonly requests: readonly ProxiedRequest[];
  /** How many faults there were. */
  readonly faults: number;
  /** How many requests wait for the end of their answer. */
  readonly underWay: number;
  /** From now on. */
  setScript(script: FaultScript): void;
  stop(): Promise<void>;
}

export interface FlakyProxyOptions {
  /** Without one everything passes. */
  readonly script?: FaultScript;
  /** By how many milliseconds the server's clock seems to be behind ours (the `Date` header). */
  readonly dateBehindMs?: number;
}

/** 503 as S3 says it when it is asked too much. */
export const slowDown: Fault = { kind: 'answer', status: 503, code: 'SlowDown' };
export const internalError: Fault = { kind: 'answer', status: 500, code: 'InternalError' };
/** The connection breaks after so many bytes of the request's body. */
export const resetAfter = (afterBytes: number): Fault => ({ kind: 'reset request', afterBytes });

/** The fault for the first so many requests of an operation (`''`: of any). */
export function times(count: number, operation: string, fault: Fault): FaultScript {
  let left = count;
  return (request) => {
    if (left === 0 || (operation !== '' && request.operation !== operation)) return null;
    left -= 1;
    return fault;
  };
}

/** Each fault once, for the next request of its operation, in this order. */
export function inTurn(
  faults: readonly (readonly [operation: string, fault: Fault])[],
): FaultScript {
  const left = [...faults];
  return (request) => {
    const at = left.findIndex(([operation]) => operation === request.operation);
    const [next] = at === -1 ? [] : left.splice(at, 1);
    return next?.[1] ?? null;
  };
}

/** One of the faults for about that share of all requests. @param random from 0 up to 1 */
export function atRandom(
  share: number,
  faults: readonly Fault[],
  random: () => number,
): FaultScript {
  return () => {
    if (random() >= share) return null;
    return faults[Math.floor(random() * faults.length)] ?? null;
  };
}

function operationOf(method: string, path: string): string {
  const { pathname, searchParams } = new URL(path, 'http://host');
  const isBucket = pathname.split('/').filter((part) => part !== '').length < 2;
  const has = (name: string) => searchParams.has(name);
  if (has('uploads')) return method === 'POST' ? 'CreateMultipartUpload' : 'ListMultipartUploads';
  if (has('uploadId')) {
    if (method === 'PUT') return 'UploadPart';
    if (method === 'POST') return 'CompleteMultipartUpload';
    return method === 'DELETE' ? 'AbortMultipartUpload' : 'ListParts';
  }
  if (has('list-type')) return 'ListObjectsV2';
  const words: Readonly<Record<string, string>> = {
    GET: 'Get',
    HEAD: 'Head',
    PUT: 'Put',
    DELETE: 'Delete',
    POST: 'Post',
  };
  return `${words[method] ?? method}${isBucket ? 'Bucket' : 'Object'}`;
}

/** Ends the pipeline after so many bytes. */
class Cut extends Error {}

function cutAfter(bytes: number): Transform {
  let passed = 0;
  return new Transform({
    transform(piece: Buffer, _encoding, done) {
      if (passed + piece.length <= bytes) {
        passed += piece.length;
        done(null, piece);
        return;
      }
      this.push(piece.subarray(0, bytes - passed));
      done(new Cut('cut'));
    },
  });
}

function flipAt(position: number): Transform {
  let passed = 0;
  return new Transform({
    transform(piece: Buffer, _encoding, done) {
      const at = position - passed;
      passed += piece.length;
      const copy = Buffer.from(piece);
      if (at >= 0 && at < copy.length) copy.writeUInt8(copy.readUInt8(at) ^ 1, at);
      done(null, copy);
    },
  });
}

function slowTo(bytesPerSecond: number): Transform {
  return new Transform({
    transform(piece: Buffer, _encoding, done) {
      sleep((piece.length / bytesPerSecond) * 1000).then(() => done(null, piece), done);
    },
  });
}

/** What a body goes through on its way to the server, or back. */
function change(fault: Fault | null, way: 'request' | 'answer'): Transform[] {
  if (fault === null) return [];
  if (fault.kind === 'slow') return [slowTo(fault.bytesPerSecond)];
  if (fault.kind === `reset ${way}`) {
    return 'afterBytes' in fault ? [cutAfter(fault.afterBytes)] : [];
  }
  if (fault.kind === `flip ${way}`) return 'at' in fault ? [flipAt(fault.at)] : [];
  return [];
}

function xmlOf(code: string): string {
  const error = `<Error><Code>${code}</Code><Message>${code}</Message></Error>`;
  return `<?xml version="1.0" encoding="UTF-8"?>${error}`;
}

interface Exchange {
  readonly target: URL;
  readonly incoming: IncomingMessage;
  readonly outgoing: ServerResponse;
  readonly fault: Fault | null;
  readonly dateBehindMs: number;
}

/** Sends the request on, and its answer back; with what is to happen to them. */
async function forward(exchange: Exchange): Promise<void> {
  const { target, incoming, outgoing, fault, dateBehindMs } = exchange;
  const { socket } = incoming;
  const onward = sendRequest({
    host: target.hostname,
    port: target.port,
    method: incoming.method,
    path: incoming.url,
    headers: incoming.headers,
    agent: false,
  });
  const answered = new Promise<IncomingMessage>((resolve, reject) => {
    onward.once('response', resolve);
    onward.once('error', reject);
  });
  answered.catch(() => undefined);
  // A client that goes away takes its request with it.
  outgoing.once('close', () => {
    if (!outgoing.writableFinished) onward.destroy();
  });
  try {
    await pipeline([incoming, ...change(fault, 'request'), onward]);
    const answer = await answered;
    if (fault?.kind === 'reset request' || fault?.kind === 'lose answer') throw new Cut('lost');
    const headers = { ...answer.headers };
    if (dateBehindMs !== 0) headers.date = new Date(Date.now() - dateBehindMs).toUTCString();
    outgoing.writeHead(answer.statusCode ?? 502, headers);
    await pipeline([answer, ...change(fault, 'answer'), outgoing]);
  } catch {
    onward.destroy();
    socket.resetAndDestroy();
  }
}

/** Answers by itself. */
function refuse(
  { incoming, outgoing, dateBehindMs }: Exchange,
  { status, code }: Extract<Fault, { kind: 'answer' }>,
): void {
  incoming.resume();
  incoming.once('end', () => {
    const date = new Date(Date.now() - dateBehindMs).toUTCString();
    outgoing.writeHead(status, { 'content-type': 'application/xml', date });
    outgoing.end(incoming.method === 'HEAD' ? '' : xmlOf(code));
  });
}

/**
 * Starts a proxy on a free port of the loopback interface.
 *
 * @param endpoint of the server behind it: `http://…`
 */
export async function startFlakyProxy(
  endpoint: string,
  { script, dateBehindMs = 0 }: FlakyProxyOptions = {},
): Promise<FlakyProxy> {
  const target = new URL(endpoint);
  const requests: ProxiedRequest[] = [];
  let faults = 0;
  let underWay = 0;
  let current: FaultScript = script ?? (() => null);
  const server = createServer((incoming, outgoing) => {
    const { method = 'GET', url: path = '/' } = incoming;
    const seen: ProxiedRequest = {
      number: requests.length + 1,
      method,
      path,
      operation: operationOf(method, path),
      bytes: Number(incoming.headers['content-length'] ?? 0),
    };
    requests.push(seen);
    underWay += 1;
    outgoing.once('close', () => {
      underWay -= 1;
    });
    const fault = current(seen);
    if (fault !== null) faults += 1;
    outgoing.on('error', () => undefined);
    incoming.on('error', () => undefined);
    const exchange = { target, incoming, outgoing, fault, dateBehindMs };
    if (fault?.kind === 'hang') incoming.resume();
    else if (fault?.kind === 'answer') refuse(exchange, fault);
    else void forward(exchange);
  });
  server.requestTimeout = 0;
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('there is no port');
  return {
    endpoint: `http://127.0.0.1:${address.port}`,
    requests,
    get faults() {
      return faults;
    },
    get underWay() {
      return underWay;
    },
    setScript(next) {
      current = next;
    },
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
