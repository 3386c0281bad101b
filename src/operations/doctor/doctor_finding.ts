/** How the doctor's checks give what they find, each bounded in time and hiding no other. */

import type { CheckName, Finding, FindingLevel } from '../../core/doctor.ts';
import { exitStatus, HoldfastError, toHoldfastError } from '../../core/errors.ts';
import { redactPasswords } from '../../core/secret.ts';
import type { Context } from '../context.ts';

/** What a check is about: its name and its subject. */
export interface About {
  readonly check: CheckName;
  readonly subject: string;
}

/** One finding; whatever it quotes, without passwords. */
export function finding(
  { check, subject }: About,
  level: FindingLevel,
  message: string,
  mend: string | null = null,
): Finding {
  return {
    check,
    subject: redactPasswords(subject),
    level,
    message: redactPasswords(message),
    mend: mend === null ? null : redactPasswords(mend),
  };
}

/** A failure as a finding; a wrong setting is one of the settings, wherever it shows. */
export function failureFinding(about: About, thrown: unknown): Finding {
  const error = toHoldfastError(thrown);
  const check = error.status === exitStatus.usage ? 'settings' : about.check;
  return finding({ ...about, check }, 'problem', error.message, error.hint ?? null);
}

/**
 * What a check finds, or its failure as a finding.
 *
 * @throws HoldfastError INTERRUPTED when the run itself is to end
 */
export async function attempt(
  context: Context,
  about: About,
  work: () => Promise<readonly Finding[]>,
): Promise<readonly Finding[]> {
  try {
    return await work();
  } catch (thrown) {
    if (context.signal.aborted) throw context.signal.reason;
    return [failureFinding(about, thrown)];
  }
}

/**
 * A signal for work that may wait for a server: it fires after a time, with an error that says so,
 * or with the run's own.
 */
export function deadline(context: Context, seconds: number, doing: string): AbortSignal {
  const late = new AbortController();
  const error = new HoldfastError('DATABASE_UNREACHABLE', `${doing} took more than ${seconds} s`, {
    hint: 'Look at the network between, at the load of the server, and at its locks.',
  });
  setTimeout(() => late.abort(error), seconds * 1000).unref();
  return AbortSignal.any([context.signal, late.signal]);
}

/** Waits for work that does not look at a signal, until the signal fires. */
export async function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const abort = () => reject(signal.reason);
  if (signal.aborted) abort();
  signal.addEventListener('abort', abort, { once: true });
  work.catch(() => undefined);
  try {
    return await Promise.race([work, promise]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}
