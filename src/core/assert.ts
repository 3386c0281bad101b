import { HoldfastError } from './errors.ts';

/**
 * States what must hold here whatever the user did. A failed assertion is a fault of Holdfast
 * (status 1), never a user's mistake.
 *
 * @throws HoldfastError UNEXPECTED when the condition is false
 */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new HoldfastError('UNEXPECTED', `assertion failed: ${message}`);
}
