import { PassThrough, type Readable, Writable } from 'node:stream';

/** Takes the whole stream, and resolves when it is safe where it belongs. */
export type Sink = (body: Readable) => Promise<unknown>;

/** A stream that feeds several sinks, and what became of them. */
export interface FanOut {
  readonly stream: Writable;
  /** Resolves when every sink has resolved; rejects with the first failure. */
  readonly done: Promise<void>;
}

/** Resolves when a body takes more, or will never take anything again. */
function roomIn(body: PassThrough): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      body.off('drain', done).off('close', done);
      resolve();
    };
    body.on('drain', done).on('close', done);
  });
}

/**
 * Feeds several sinks at once, at the pace of the slowest.
 *
 * The end of the stream is handed on only after `mayEnd` has resolved: a sink commits when its body
 * ends, and a body may end only when every child has ended with 0 (REPOSITORY.md, "Committing").
 * With an error the bodies are destroyed, so that nothing is committed.
 */
export function createFanOut(sinks: readonly Sink[], mayEnd: () => Promise<void>): FanOut {
  const bodies = sinks.map(() => {
    const body = new PassThrough({ highWaterMark: 1024 * 1024 });
    // A sink that has given up listens no more; its own error is the one that counts.
    body.on('error', () => undefined);
    return body;
  });
  const stream = new Writable({
    highWaterMark: 1024 * 1024,
    write(chunk: Buffer, _encoding, done) {
      // A sink that has given up says so itself: nothing is told of its body here.
      const full = bodies.filter((body) => !body.destroyed && !body.write(chunk));
      if (full.length === 0) return done();
      Promise.all(full.map(roomIn)).then(() => done(), done);
    },
    final(done) {
      mayEnd()
        .then(() => {
          for (const body of bodies) body.end();
          return settled;
        })
        .then(() => done(), done);
    },
    destroy(error, done) {
      for (const body of bodies) body.destroy(error ?? undefined);
      done(error);
    },
  });
  const settled: Promise<unknown> = Promise.all(
    sinks.map(async (sink, index) => {
      const body = bodies[index];
      if (body !== undefined) await sink(body);
    }),
  );
  settled.catch((error: Error) => stream.destroy(error));
  const done = settled.then(() => undefined);
  // Whoever runs the pipeline hears of it through the stream; this is for the one who also waits.
  done.catch(() => undefined);
  return { stream, done };
}
