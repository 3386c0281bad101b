import type { HoldfastError } from '../core/errors.ts';

/** The JSON document of a command that failed. */
export function errorDocument(error: HoldfastError): object {
  const { code, message, hint, status, details } = error;
  return { error: { code, message, hint: hint ?? null, exit_status: status, ...details } };
}
